/** Settings of a bucket: its servers, its keys, its members. */
import './settings.css';
import { useCallback, useEffect, useState } from 'preact/hooks';
import { ago, stamp } from '../../format/time';
import { count } from '../../format/units';
import * as api from '../../link/api';
import { readServer } from '../../link/protocol';
import { to } from '../../router';
import { allowance, bucket, bucketId, counted, loadBuckets, may, role } from '../../store/buckets';
import { fleet, now } from '../../store/live';
import { Button, CopyButton, Failure, IconButton, Note, Search, Skeleton } from '../../ui/controls';
import { Icon } from '../../ui/icons';
import { connectOpen, hubRoot } from '../connect';
import { DeleteServers } from './delete-servers';

const TABS = [
  ['servers', 'Servers'],
  ['general', 'General'],
  ['members', 'Members'],
] as const;

export function SettingsPage({ tab }: { readonly tab: string }) {
  const id = bucketId.value;
  return (
    <div class="scroll settings">
      <nav class="tabs" aria-label="Settings">
        {TABS.map(([key, text]) => (
          <a key={key} href={to.settings(id, key)} aria-current={tab === key ? 'page' : undefined}>
            {text}
          </a>
        ))}
      </nav>
      {tab === 'general' ? <General /> : tab === 'members' ? <Members /> : <ServerBox />}
    </div>
  );
}

interface Known {
  readonly id: string;
  readonly name: string;
  readonly hostname: string;
  readonly online: boolean;
  /** As the hub says it, `hidden` among others. */
  readonly state: string;
  readonly lastSeen: number;
  readonly pm2: string;
  readonly node: string;
  readonly agent: string;
  readonly processes: number;
  readonly ips: string;
}

function readKnown(v: unknown): Known | null {
  const s = readServer(v);
  if (!s) return null;
  const raw = v as Record<string, unknown>;
  const counted =
    typeof raw.process_count === 'number'
      ? raw.process_count
      : typeof raw.processes === 'number'
        ? raw.processes
        : s.processes.size;
  return {
    id: s.id,
    name: s.name,
    hostname: s.hostname,
    online: s.online,
    state: raw.hidden === true ? 'hidden' : typeof raw.state === 'string' ? raw.state : s.state,
    lastSeen: s.last_seen,
    pm2: s.versions.pm2,
    node: s.versions.node,
    agent: s.agent === 'pm2' ? 'pm2 agent' : 'pilothouse',
    processes: counted,
    ips: [s.public_ip, s.internal_ip].filter(Boolean).join(', '),
  };
}

function ServerBox() {
  const id = bucketId.value;
  const [known, setKnown] = useState<readonly Known[] | null>(null);
  const [problem, setProblem] = useState('');
  const [filter, setFilter] = useState('');
  const [offlineOnly, setOfflineOnly] = useState(false);
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const [doomed, setDoomed] = useState<readonly Known[] | null>(null);

  const load = useCallback(async () => {
    setProblem('');
    try {
      const answer = await api.get(`api/bucket/${id}/servers`);
      const list = Array.isArray(answer) ? answer : ((answer as { servers?: unknown[] } | null)?.servers ?? []);
      setKnown(list.map(readKnown).filter((k): k is Known => k !== null));
    } catch (error) {
      setProblem(error instanceof Error ? error.message : 'The list could not be read.');
    }
  }, [id]);

  // A server that comes, goes or changes its state is worth a new look.
  const shape = [...(fleet.value?.servers.values() ?? [])].map((s) => `${s.id}${s.state}`).join();
  useEffect(() => void load(), [load, shape]);

  if (problem !== '' && !known) return <Failure message={problem} onRetry={load} />;
  if (!known) return <Skeleton rows={5} label="Loading the servers" />;

  const mayDelete = may('admin');
  const needle = filter.trim().toLowerCase();
  const list = known
    .filter((k) => !offlineOnly || !k.online)
    .filter((k) => `${k.name} ${k.hostname} ${k.ips}`.toLowerCase().includes(needle))
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id < b.id ? -1 : 1));
  const chosen = list.filter((k) => picked.has(k.id));
  const pick = (key: string, on: boolean) => {
    const next = new Set(picked);
    if (on) next.add(key);
    else next.delete(key);
    setPicked(next);
  };

  if (known.length === 0) {
    return (
      <div class="empty">
        <Icon name="server" />
        <h2>No server was ever linked</h2>
        <Button kind="primary" icon="plus" onClick={() => (connectOpen.value = true)}>
          Connect a server
        </Button>
      </div>
    );
  }

  return (
    <section aria-label="Every server ever linked">
      <div class="boxtools">
        <Search value={filter} label="Filter servers" onInput={setFilter} />
        <label class="check inline">
          <input type="checkbox" checked={offlineOnly} onChange={(e) => setOfflineOnly(e.currentTarget.checked)} />
          <span>Offline only</span>
        </label>
        <span class="grow" />
        <span class="muted">
          {count(list.length)} of {count(known.length)}
        </span>
        {mayDelete ? (
          <Button kind="danger" icon="trash" disabled={chosen.length === 0} onClick={() => setDoomed(chosen)}>
            Delete {chosen.length > 0 ? count(chosen.length) : 'selected'}
          </Button>
        ) : null}
      </div>
      <div class="panel box">
        <table class="grid" data-test="server-box">
          <thead>
            <tr>
              {mayDelete ? (
                <th scope="col" class="tick">
                  <input
                    type="checkbox"
                    aria-label="All in the list"
                    checked={list.length > 0 && chosen.length === list.length}
                    onChange={(e) => setPicked(e.currentTarget.checked ? new Set(list.map((k) => k.id)) : new Set())}
                  />
                </th>
              ) : null}
              <th scope="col">Name</th>
              <th scope="col">State</th>
              <th scope="col">Last seen</th>
              <th scope="col" class="wide">
                PM2
              </th>
              <th scope="col" class="wide">
                Node
              </th>
              <th scope="col" class="num">
                Processes
              </th>
              <th scope="col" class="wide">
                Addresses
              </th>
              <th scope="col">
                <span class="sr">Delete</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {list.map((k) => (
              <tr key={k.id} data-server={k.id}>
                {mayDelete ? (
                  <td class="tick">
                    <input
                      type="checkbox"
                      aria-label={`Select ${k.name}`}
                      checked={picked.has(k.id)}
                      onChange={(e) => pick(k.id, e.currentTarget.checked)}
                    />
                  </td>
                ) : null}
                <td>
                  <b>{k.name}</b>
                  {k.hostname && k.hostname !== k.name ? <div class="muted">{k.hostname}</div> : null}
                </td>
                <td>
                  <span class="row">
                    <span class={`dot ${k.online ? 'good' : k.state === 'hidden' ? 'idle' : 'failed'}`} />
                    {k.state}
                  </span>
                </td>
                <td title={stamp(k.lastSeen)}>{k.online ? 'now' : ago(k.lastSeen, now.value)}</td>
                <td class="wide">
                  {k.pm2 || '–'} <span class="muted">{k.agent}</span>
                </td>
                <td class="wide">{k.node || '–'}</td>
                <td class="num">{count(k.processes)}</td>
                <td class="wide sub">{k.ips || '–'}</td>
                <td class="num">
                  {mayDelete && k.state !== 'hidden' ? (
                    <IconButton icon="trash" small label={`Delete server ${k.name}`} onClick={() => setDoomed([k])} />
                  ) : null}
                </td>
              </tr>
            ))}
            {list.length === 0 ? (
              <tr>
                <td colSpan={9} class="muted">
                  Nothing matches.
                </td>
              </tr>
            ) : null}
          </tbody>
        </table>
      </div>
      {doomed ? (
        <DeleteServers
          servers={doomed}
          onClose={() => setDoomed(null)}
          onDone={() => {
            setPicked(new Set());
            void load();
          }}
        />
      ) : null}
    </section>
  );
}

function Secret({ value }: { readonly value: string }) {
  const [shown, setShown] = useState(false);
  return (
    <div class="cmd">
      <code>{shown ? value : '•'.repeat(value.length)}</code>
      <IconButton
        icon={shown ? 'hide' : 'show'}
        label={shown ? 'Hide the secret' : 'Show the secret'}
        small
        aria-pressed={shown}
        onClick={() => setShown(!shown)}
      />
      <CopyButton text={() => value} />
    </div>
  );
}

function General() {
  const b = bucket.value;
  const [name, setName] = useState(b?.name ?? '');
  const [comment, setComment] = useState(b?.comment ?? '');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  if (!b) return null;
  const owner = role.value === 'owner';
  const changed = name.trim() !== b.name || comment.trim() !== b.comment;
  const save = async (e: Event) => {
    e.preventDefault();
    if (name.trim() === '') return setProblem('A bucket needs a name.');
    setBusy(true);
    setProblem('');
    try {
      await api.put(`api/bucket/${b.id}`, { name: name.trim(), comment: comment.trim() });
      await loadBuckets();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : 'The change could not be saved.');
    }
    setBusy(false);
  };
  const allowed = allowance(b.plan);
  const used = counted(fleet.value?.servers.values() ?? []);
  return (
    <div class="cards">
      <form class="panel card" onSubmit={save}>
        <h2>Bucket</h2>
        {problem === '' ? null : <Note kind="bad">{problem}</Note>}
        <div class="field">
          <label for="set-name">Name</label>
          <input
            id="set-name"
            class="input"
            value={name}
            maxLength={80}
            readOnly={!owner}
            onInput={(e) => setName(e.currentTarget.value)}
          />
        </div>
        <div class="field">
          <label for="set-comment">Comment</label>
          <input
            id="set-comment"
            class="input"
            value={comment}
            maxLength={200}
            readOnly={!owner}
            onInput={(e) => setComment(e.currentTarget.value)}
          />
        </div>
        {owner ? (
          <div class="row end">
            <Button type="submit" kind="primary" busy={busy} disabled={!changed}>
              Save
            </Button>
          </div>
        ) : (
          <p class="muted">Only the owner changes these.</p>
        )}
      </form>
      <section class="panel card">
        <h2>Keys</h2>
        <p class="sub">Agents link with both. The secret lets a host send data here; treat it like a password.</p>
        <div class="field">
          <span class="lbl">Public key</span>
          <div class="cmd">
            <code>{b.publicKey}</code>
            <CopyButton text={() => b.publicKey} />
          </div>
        </div>
        {b.secretKey === '' ? null : (
          <div class="field">
            <span class="lbl">Secret key</span>
            <Secret value={b.secretKey} />
          </div>
        )}
        <div class="field">
          <span class="lbl">Address of this hub</span>
          <div class="cmd">
            <code>{hubRoot(b)}</code>
            <CopyButton text={() => hubRoot(b)} />
          </div>
        </div>
      </section>
      <section class="panel card">
        <h2>Plan</h2>
        <dl class="facts">
          <dt>Plan</dt>
          <dd>{b.plan}</dd>
          <dt>Processes</dt>
          <dd>
            {count(used)} / {allowed === null ? 'unlimited' : count(allowed)}
          </dd>
          <dt>A server is offline after</dt>
          <dd>{b.offlineAfter} seconds of silence</dd>
          <dt>Your role</dt>
          <dd>{role.value}</dd>
        </dl>
      </section>
    </div>
  );
}

interface Member {
  readonly username: string;
  readonly email: string;
  readonly role: string;
}

function Members() {
  const id = bucketId.value;
  const [members, setMembers] = useState<readonly Member[] | null>(null);
  const [problem, setProblem] = useState('');
  const load = useCallback(async () => {
    setProblem('');
    try {
      const answer = await api.get(`api/bucket/${id}/users_authorized`);
      const list = Array.isArray(answer) ? answer : [];
      setMembers(
        list.map((m) => {
          const d = (m ?? {}) as Record<string, unknown>;
          return { username: String(d.username ?? ''), email: String(d.email ?? ''), role: String(d.role ?? 'user') };
        }),
      );
    } catch (error) {
      setProblem(error instanceof Error ? error.message : 'The members could not be read.');
    }
  }, [id]);
  useEffect(() => void load(), [load]);
  if (problem !== '') return <Failure message={problem} onRetry={load} />;
  if (!members) return <Skeleton rows={3} label="Loading the members" />;
  return (
    <div class="panel box">
      <table class="grid">
        <thead>
          <tr>
            <th scope="col">User name</th>
            <th scope="col">E-mail</th>
            <th scope="col">Role</th>
          </tr>
        </thead>
        <tbody>
          {members.map((m) => (
            <tr key={m.email || m.username}>
              <td>
                <b>{m.username}</b>
              </td>
              <td class="sub">{m.email}</td>
              <td>{m.role}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
