/** The server box: every server ever linked, whether it is there or not, and how to forget it. */
import { useState } from 'preact/hooks';
import { badge } from '../../format/absence';
import { ago, stamp } from '../../format/time';
import { count } from '../../format/units';
import { bare } from '../../format/versions';
import { readServer } from '../../link/protocol';
import { bucket, bucketId, may } from '../../store/buckets';
import { now } from '../../store/live';
import { Button, Failure, IconButton, Note, Search, Skeleton } from '../../ui/controls';
import { Icon } from '../../ui/icons';
import { connectOpen } from '../connect';
import { DeleteServers } from './delete-servers';
import { type Column, Listing, useTold } from './listing';

interface Known {
  readonly id: string;
  readonly name: string;
  readonly hostname: string;
  readonly online: boolean;
  /** In words; `hidden` is one of them. */
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
  const hidden = raw.hidden === true || raw.state === 'hidden';
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
    // The agent of a hidden server may well run; it is refused.
    online: s.online && !hidden,
    state: hidden ? 'hidden' : badge(s.state, s.absence),
    lastSeen: s.last_seen,
    pm2: s.versions.pm2,
    node: bare(s.versions.node),
    agent: s.agent === 'pm2' ? 'pm2 agent' : 'pilothouse',
    processes: counted,
    ips: [...new Set([s.public_ip, s.internal_ip])].filter(Boolean).join(', '),
  };
}

interface TurnedBack {
  /** `name (host)`. */
  readonly who: string;
  /** Why it was refused; '' when only a place is missing. */
  readonly why: string;
}

/** Servers that were told to wait, or refused. */
export function readWaiting(answer: unknown): readonly TurnedBack[] {
  const list = (answer as { waiting?: unknown } | null)?.waiting;
  if (!Array.isArray(list)) return [];
  return list.map((w: { name?: unknown; hostname?: unknown; why?: unknown } | null) => {
    const [name, host] = [String(w?.name ?? ''), String(w?.hostname ?? '')];
    return { who: host === '' || host === name ? name : `${name} (${host})`, why: String(w?.why ?? '') };
  });
}

/** Every server ever linked, and who would be. */
function readBox(answer: unknown): { readonly known: readonly Known[]; readonly waiting: readonly TurnedBack[] } {
  const list = Array.isArray(answer) ? answer : ((answer as { servers?: unknown[] } | null)?.servers ?? []);
  return { known: list.map(readKnown).filter((k): k is Known => k !== null), waiting: readWaiting(answer) };
}

function Notices({ waiting }: { readonly waiting: readonly TurnedBack[] }) {
  const patient = waiting.filter(({ why }) => why === '');
  return (
    <>
      {patient.length > 0 ? (
        <Note kind="warn">
          The limit of {count(bucket.value?.maxServers ?? 0)} linked servers is reached. Waiting for a place:{' '}
          <b data-test="waiting">{patient.map(({ who }) => who).join(', ')}</b>. Delete a server here, or raise the
          limit under General.
        </Note>
      ) : null}
      {waiting
        .filter(({ why }) => why !== '')
        .map(({ who, why }) => (
          <Note key={who} kind="bad">
            <b data-test="refused">{who}</b> was refused: {why}
          </Note>
        ))}
    </>
  );
}

export function ServerBox() {
  const [filter, setFilter] = useState('');
  const [offlineOnly, setOfflineOnly] = useState(false);
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const [doomed, setDoomed] = useState<readonly Known[] | null>(null);
  // A server that comes, goes or changes its state is worth a new look.
  const { value, problem, reload } = useTold(
    `api/bucket/${bucketId.value}/servers`,
    readBox,
    (s) => `${s.state}${s.absence?.reason}`,
  );
  if (problem !== '' && !value) return <Failure message={problem} onRetry={reload} />;
  if (!value) return <Skeleton rows={5} label="Loading the servers" />;
  const { known, waiting } = value;

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
      <>
        <Notices waiting={waiting} />
        <div class="empty">
          <Icon name="server" />
          <h2>No server was ever linked</h2>
          <Button kind="primary" icon="plus" onClick={() => (connectOpen.value = true)}>
            Connect a server
          </Button>
        </div>
      </>
    );
  }

  const tick = (
    <input
      type="checkbox"
      aria-label="All in the list"
      checked={list.length > 0 && chosen.length === list.length}
      onChange={(e) => setPicked(e.currentTarget.checked ? new Set(list.map((k) => k.id)) : new Set())}
    />
  );
  const columns: readonly Column[] = [
    ...(mayDelete ? [{ head: tick, kind: 'tick' }] : []),
    { head: 'Name' },
    { head: 'State' },
    { head: 'Last seen', kind: 'roomy' },
    { head: 'PM2', kind: 'wide' },
    { head: 'Node', kind: 'wide' },
    { head: 'Processes', kind: 'num' },
    { head: 'Addresses', kind: 'wide' },
    { head: <span class="sr">Delete</span> },
  ];

  return (
    <section aria-label="Every server ever linked">
      <Notices waiting={waiting} />
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
      <Listing name="server-box" columns={columns} empty={list.length === 0 ? 'Nothing matches.' : ''}>
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
                {k.online ? null : <div class="muted narrow">{ago(k.lastSeen, now.value)}</div>}
              </td>
              <td class="roomy" title={stamp(k.lastSeen)}>
                {k.online ? 'now' : ago(k.lastSeen, now.value)}
              </td>
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
        </tbody>
      </Listing>
      {doomed ? (
        <DeleteServers
          servers={doomed}
          onClose={() => setDoomed(null)}
          onDone={() => {
            setPicked(new Set());
            void reload();
          }}
        />
      ) : null}
    </section>
  );
}
