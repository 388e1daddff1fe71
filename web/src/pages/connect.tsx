/** The ready command for a new server. The secret stays hidden until somebody asks for it; copying always copies the whole. */
import './connect.css';
import { signal } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import * as api from '../link/api';
import { at } from '../link/api';
import type { Bucket } from '../store/buckets';
import { CopyButton, IconButton, Note, Segment } from '../ui/controls';
import { Dialog } from '../ui/dialog';
import { LinkTest } from './link-test';

export const connectOpen = signal(false);

type Kind = 'server' | 'container' | 'pm2';

/** How a shell must see a word. */
export function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The root of the hub without a slash at its end, as agents want it. */
export function hubRoot(bucket: Bucket): string {
  return (bucket.endpoint || at('.')).replace(/\/+$/, '');
}

export function command(kind: Kind, bucket: Bucket, name: string): string {
  const root = hubRoot(bucket);
  const named = name.trim();
  // Canonical order: secret, public, name.
  const link = `link ${bucket.secretKey} ${bucket.publicKey}${named === '' ? '' : ` ${quote(named)}`}`;
  if (kind === 'server') return `pilothouse ${link} --info-node ${quote(root)}`;
  if (kind === 'pm2') return `KEYMETRICS_NODE=${quote(root)} pm2 ${link}`;
  return [
    `PM2_SECRET_KEY=${bucket.secretKey}`,
    `PM2_PUBLIC_KEY=${bucket.publicKey}`,
    `KEYMETRICS_NODE=${quote(root)}`,
    ...(named === '' ? [] : [`PM2_MACHINE_NAME=${quote(named)}`]),
  ].join('\n');
}

export function mask(text: string, secret: string): string {
  return secret === '' ? text : text.replaceAll(secret, '•'.repeat(secret.length));
}

/** The addresses that a firewall must let through, as the hub tells them. */
function Reachable() {
  const [text, setText] = useState('');
  useEffect(() => {
    const read = async () => {
      try {
        const answer = (await api.get('ips')) as { port?: unknown; addresses?: unknown } | null;
        const list = Array.isArray(answer?.addresses) ? answer.addresses.map(String) : [];
        setText(list.map((address) => `${address.includes(':') ? `[${address}]` : address}:${answer?.port}`).join(' '));
      } catch {
        // The address above is what counts.
        setText('');
      }
    };
    void read();
  }, []);
  if (text === '') return null;
  return (
    <div class="cmd">
      <code data-test="addresses">{text}</code>
      <CopyButton text={() => text} />
    </div>
  );
}

export function ConnectPanel({ bucket }: { readonly bucket: Bucket }) {
  const [kind, setKind] = useState<Kind>('server');
  const [name, setName] = useState('');
  const [shown, setShown] = useState(false);
  const text = command(kind, bucket, name);
  const hasKeys = bucket.secretKey !== '' && bucket.publicKey !== '';
  useEffect(() => setShown(false), [bucket.id]);
  return (
    <div class="connect-panel">
      <Segment
        label="What to connect"
        value={kind}
        onChange={setKind}
        options={[
          { value: 'server', text: 'Server' },
          { value: 'container', text: 'Container' },
          { value: 'pm2', text: 'Existing PM2' },
        ]}
      />
      <p class="sub">
        {kind === 'server'
          ? 'Run this on the server whose apps you want to see. It links the daemon of the user who runs it.'
          : kind === 'container'
            ? 'Give these variables to the container; the agent in it links by itself at start.'
            : 'A server that runs pm2 7 links as it is, with no change to its apps.'}
      </p>
      <div class="field">
        <label for="connect-name">Server name</label>
        <input
          id="connect-name"
          class="input"
          value={name}
          maxLength={64}
          placeholder="Its host name when left empty"
          data-autofocus="yes"
          autocomplete="off"
          spellcheck={false}
          // Names are parts of realtime event names, where a colon separates.
          onInput={(e) => setName(e.currentTarget.value.replaceAll(':', ''))}
        />
      </div>
      {hasKeys ? (
        <div class="cmd">
          <code data-test="connect-command">{shown ? text : mask(text, bucket.secretKey)}</code>
          <IconButton
            icon={shown ? 'hide' : 'show'}
            label={shown ? 'Hide the secret' : 'Show the secret'}
            small
            aria-pressed={shown}
            onClick={() => setShown(!shown)}
          />
          <CopyButton text={() => text} />
        </div>
      ) : (
        <Note kind="warn">Your role in this bucket does not see its keys. Ask an admin for the command.</Note>
      )}
      <LinkTest bucket={bucket.id} />
      <details>
        <summary>What the server must be able to reach</summary>
        <p class="sub">
          Only outbound: <code>{hubRoot(bucket)}</code>, one WebSocket for data and commands. Nothing listens on the
          server. Proxies are taken from <code>PM2_PROXY</code> or <code>HTTPS_PROXY</code>.
        </p>
        <Reachable />
      </details>
      <details>
        <summary>What is sent</summary>
        <p class="sub">
          Per process: pid, number, name, interpreter, arguments, path, restarts, times, state, CPU, memory, Git
          revision and the metrics the app reports. Per server: user and host name, uptime, platform, load, memory,
          versions. Environment variables are not sent. Processes that were excluded with{' '}
          <code>pilothouse unmonitor</code> never leave the host.
        </p>
      </details>
    </div>
  );
}

export function ConnectDrawer({ bucket }: { readonly bucket: Bucket }) {
  return (
    <Dialog
      title="Connect a server"
      kind="drawer"
      onClose={() => {
        connectOpen.value = false;
      }}
    >
      <ConnectPanel bucket={bucket} />
    </Dialog>
  );
}
