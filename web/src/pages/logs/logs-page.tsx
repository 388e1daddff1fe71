/** Live logs of an app or a server. Nothing of it is stored; what is here came while the page was open. */
import './logs.css';
import { signal } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import { count } from '../../format/units';
import type { WatchHandle } from '../../link/socket';
import { setQuery } from '../../router';
import { bucketId } from '../../store/buckets';
import { fleet, link, linkState } from '../../store/live';
import { LogBuffer, type LogFilter } from '../../store/log-buffer';
import { Button, Search, Skeleton } from '../../ui/controls';
import { sortServers } from '../overview/rows';
import { Lines } from './lines';

/** Watches at once; each makes an agent stream. */
const MAX_SERVERS = 16;

interface Source {
  readonly server: string;
  readonly name: string;
}

/** The servers whose logs are wanted; all that run the app when none is chosen. */
function sources(server: string, app: string): readonly Source[] {
  const all = sortServers(fleet.value?.servers.values() ?? []);
  return all
    .filter((s) =>
      server === '' ? app === '' || [...s.processes.values()].some((p) => p.name === app) : s.id === server,
    )
    .map((s) => ({ server: s.id, name: s.name }));
}

export function LogsPage({ query }: { readonly query: URLSearchParams }) {
  const state = fleet.value;
  const server = query.get('server') ?? '';
  const app = query.get('app') ?? '';
  if (!state) return <Skeleton rows={10} label="Loading the logs" />;
  return <Logs server={server} app={app} query={query} />;
}

interface LogsProps {
  readonly server: string;
  readonly app: string;
  readonly query: URLSearchParams;
}

function Logs({ server, app, query }: LogsProps) {
  const buffer = useRef(new LogBuffer()).current;
  const beat = useRef(signal(0)).current;
  const [filter, setFilter] = useState<LogFilter>({
    text: '',
    pm_id: query.has('pm_id') ? Number(query.get('pm_id')) : null,
    stream: 'all',
  });
  const [refused, setRefused] = useState('');
  const [away, setAway] = useState(false);

  const wanted = sources(server, app);
  const few = wanted.slice(0, MAX_SERVERS);
  const key = few.map((s) => s.server).join(' ');

  useEffect(() => {
    let scheduled = false;
    const flush = () => {
      if (scheduled) return;
      scheduled = true;
      requestAnimationFrame(() => {
        scheduled = false;
        beat.value++;
      });
    };
    setRefused('');
    let handles: WatchHandle[] = [];
    const open = () => {
      handles = few.map((s) =>
        link.watch(bucketId.peek(), { topic: 'logs', server: s.server, app: app === '' ? null : app }, (frame) => {
          if (frame.op === 'error') setRefused(`${s.name}: ${frame.message}`);
          else if (frame.op === 'logs') {
            // Frames carry the server's id; its name is what people know.
            buffer.push(
              frame.lines.map((l) => ({ ...l, server: s.name })),
              frame.dropped,
            );
            flush();
          }
        }),
      );
    };
    const close = () => {
      for (const h of handles) h.close();
      handles = [];
    };
    // Nobody reads a hidden tab; streaming costs the hosts.
    const onVisible = () => {
      if (document.visibilityState === 'hidden') {
        close();
        setAway(true);
      } else if (handles.length === 0) {
        buffer.note('paused while this tab was hidden', Date.now());
        open();
        setAway(false);
        flush();
      }
    };
    open();
    document.addEventListener('visibilitychange', onVisible);
    return () => {
      document.removeEventListener('visibilitychange', onVisible);
      close();
      buffer.clear();
      beat.value++;
    };
  }, [key, app]);

  const lost = linkState.value === 'lost';
  const wasLost = useRef(false);
  useEffect(() => {
    if (lost) wasLost.current = true;
    else if (wasLost.current && linkState.value === 'open') {
      wasLost.current = false;
      buffer.note('the connection to the hub was lost; lines of that time are missing', Date.now());
      beat.value++;
    }
  }, [lost, linkState.value]);

  useEffect(() => {
    buffer.setFilter(filter);
    beat.value++;
  }, [filter]);

  void beat.value;
  const apps = new Set<string>();
  const numbers = new Map<number, string>();
  for (const s of fleet.value?.servers.values() ?? []) {
    if (server !== '' && s.id !== server) continue;
    for (const p of s.processes.values()) {
      apps.add(p.name);
      if (app === '' || p.name === app) numbers.set(p.pm_id, `#${p.pm_id} ${p.name}`);
    }
  }
  if (app !== '') apps.add(app);

  return (
    <>
      <div class="toolbar logtools" role="group" aria-label="Which lines">
        <select
          class="input"
          aria-label="Server"
          value={server}
          onChange={(e) => setQuery({ server: e.currentTarget.value || null, pm_id: null })}
        >
          <option value="">All servers</option>
          {sortServers(fleet.value?.servers.values() ?? []).map((s) => (
            <option key={s.id} value={s.id}>
              {s.name}
            </option>
          ))}
        </select>
        <select
          class="input"
          aria-label="App"
          value={app}
          onChange={(e) => setQuery({ app: e.currentTarget.value || null, pm_id: null })}
        >
          <option value="">All apps</option>
          {[...apps].sort().map((a) => (
            <option key={a} value={a}>
              {a}
            </option>
          ))}
        </select>
        <select
          class="input"
          aria-label="Process"
          value={filter.pm_id === null ? '' : String(filter.pm_id)}
          onChange={(e) =>
            setFilter({ ...filter, pm_id: e.currentTarget.value === '' ? null : Number(e.currentTarget.value) })
          }
        >
          <option value="">All processes</option>
          {[...numbers]
            .sort(([a], [b]) => a - b)
            .map(([id, text]) => (
              <option key={id} value={String(id)}>
                {text}
              </option>
            ))}
        </select>
        <select
          class="input"
          aria-label="Stream"
          value={filter.stream}
          onChange={(e) => setFilter({ ...filter, stream: e.currentTarget.value as LogFilter['stream'] })}
        >
          <option value="all">Both streams</option>
          <option value="out">Output</option>
          <option value="err">Errors</option>
        </select>
        <span class="grow" />
        <span class="counts muted" data-test="log-counts">
          {buffer.dropped > 0 ? <span class="warn">{count(buffer.dropped)} dropped on the way</span> : null}
          {buffer.forgotten > 0 ? (
            <span title={`The page keeps the last ${count(buffer.limit)} lines`}>
              {count(buffer.forgotten)} scrolled out
            </span>
          ) : null}
          <span>{count(buffer.visible.length)} lines</span>
        </span>
        <Search value={filter.text} label="Filter logs" onInput={(text) => setFilter({ ...filter, text })} />
        <Button
          onClick={() => {
            buffer.clear();
            beat.value++;
          }}
        >
          Clear
        </Button>
      </div>
      {wanted.length > MAX_SERVERS ? (
        <p class="logbar" role="status">
          Showing {MAX_SERVERS} of {wanted.length} servers. Choose one to see the others.
        </p>
      ) : null}
      {refused !== '' ? (
        <p class="logbar bad" role="alert">
          {refused}
        </p>
      ) : null}
      <Lines
        buffer={buffer}
        beat={beat.value}
        waiting={!lost && !away && few.length > 0}
        wanted={filter.text.trim()}
        filtered={filter.text !== '' || filter.pm_id !== null || filter.stream !== 'all'}
        wide={few.length > 1}
      />
    </>
  );
}
