/** Live logs of an app or a server. Nothing of it is stored; what is here came while the page was open. */
import './logs.css';
import { signal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { clockMillis, stamp } from '../../format/time';
import { count } from '../../format/units';
import type { WatchHandle } from '../../link/socket';
import { setQuery } from '../../router';
import { parseAnsi, stripAnsi } from '../../store/ansi';
import { bucketId } from '../../store/buckets';
import { fleet, link, linkState } from '../../store/live';
import { type Entry, LogBuffer, type LogFilter } from '../../store/log-buffer';
import { Button, CopyButton, Search, Skeleton } from '../../ui/controls';
import { Dialog } from '../../ui/dialog';
import { Icon } from '../../ui/icons';
import { sortServers } from '../overview/rows';

const ROW = 20;
const OVERSCAN = 30;
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
            buffer.push(frame.lines, frame.dropped);
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
        filtered={filter.text !== '' || filter.pm_id !== null || filter.stream !== 'all'}
        wide={few.length > 1}
      />
    </>
  );
}

interface LinesProps {
  readonly buffer: LogBuffer;
  readonly beat: number;
  readonly waiting: boolean;
  readonly filtered: boolean;
  /** Lines of more than one server: say which. */
  readonly wide: boolean;
}

function Lines({ buffer, beat, waiting, filtered, wide }: LinesProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const [follow, setFollow] = useState(true);
  const [, redraw] = useState(0);
  const [opened, setOpened] = useState<Entry | null>(null);
  const view = useRef({ top: 0, height: 800 });
  const mark = useRef(0);
  const head = useRef(-1);
  const lines = buffer.visible;
  const oldest = lines[0]?.seq ?? 0;
  const newest = lines[lines.length - 1]?.seq ?? -1;

  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element) return;
    if (follow) {
      mark.current = newest;
      element.scrollTop = element.scrollHeight;
    } else if (head.current >= 0 && oldest > head.current) {
      // Lines slid out above: keep what is being read where it is.
      let gone = 0;
      for (let seq = head.current; seq < oldest; seq++) gone++;
      element.scrollTop = Math.max(0, element.scrollTop - gone * ROW);
    }
    head.current = oldest;
    view.current = { top: element.scrollTop, height: element.clientHeight };
  }, [beat, follow]);

  useEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const onScroll = () => {
      const before = view.current.top;
      view.current = { top: element.scrollTop, height: element.clientHeight };
      const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < ROW * 1.5;
      if (atEnd) setFollow(true);
      else if (element.scrollTop < before) setFollow(false);
      redraw((n) => n + 1);
    };
    element.addEventListener('scroll', onScroll, { passive: true });
    const observer = new ResizeObserver(onScroll);
    observer.observe(element);
    return () => {
      element.removeEventListener('scroll', onScroll);
      observer.disconnect();
    };
  }, []);

  const unread = follow ? 0 : lines.length - 1 - lines.findLastIndex((l) => l.seq <= mark.current);
  const shownTop = follow ? Math.max(0, lines.length * ROW - view.current.height) : view.current.top;
  const first = Math.max(0, Math.floor(shownTop / ROW) - OVERSCAN);
  const end = Math.min(lines.length, Math.ceil((shownTop + view.current.height) / ROW) + OVERSCAN);

  return (
    <div class="logs">
      <div ref={scroller} class="lines" role="log" aria-live="off" aria-label="Log lines" tabIndex={0}>
        <div class="sizer" style={{ height: `${lines.length * ROW + 12}px` }}>
          <div class="window" style={{ transform: `translateY(${first * ROW}px)` }}>
            {lines.slice(first, end).map((l) => (
              <Row key={l.seq} entry={l} wide={wide} onOpen={setOpened} />
            ))}
          </div>
        </div>
        {lines.length === 0 ? (
          <div class="empty">
            <Icon name={waiting && !filtered ? 'wait' : 'logs'} spin={waiting && !filtered} />
            <p>
              {filtered && buffer.size > 0
                ? 'No line matches.'
                : waiting
                  ? 'Streaming. Lines appear as the apps write them.'
                  : 'Not streaming now.'}
            </p>
          </div>
        ) : null}
      </div>
      {follow ? null : (
        <Button kind="primary latest" icon="down" onClick={() => setFollow(true)}>
          {unread > 0 ? `${count(unread)} new line${unread === 1 ? '' : 's'}` : 'Latest line'}
        </Button>
      )}
      {opened ? <LineDialog entry={opened} onClose={() => setOpened(null)} /> : null}
    </div>
  );
}

interface RowProps {
  readonly entry: Entry;
  readonly wide: boolean;
  readonly onOpen: (e: Entry) => void;
}

function Row({ entry, wide, onOpen }: RowProps) {
  if (entry.stream === 'note') {
    return (
      <div class="ln note-line">
        <span>{entry.text}</span>
      </div>
    );
  }
  return (
    // The dialog shows what the keyboard can select and copy here as well.
    // biome-ignore lint/a11y/useKeyWithClickEvents: see above
    // biome-ignore lint/a11y/noStaticElementInteractions: see above
    <div
      class={entry.stream === 'err' ? 'ln err' : 'ln'}
      data-stream={entry.stream}
      onClick={() => {
        if (getSelection()?.isCollapsed !== false) onOpen(entry);
      }}
    >
      <time>{clockMillis(entry.at)}</time>
      {wide ? <span class="who cut">{entry.server}</span> : null}
      <span class="who cut" title={entry.name}>
        {entry.pm_id} {entry.name}
      </span>
      {entry.stream === 'err' ? <span class="sr">error: </span> : null}
      <code>
        {parseAnsi(entry.text).map((s, i) =>
          s.cls === '' ? (
            s.text
          ) : (
            <span key={i} class={s.cls}>
              {s.text}
            </span>
          ),
        )}
      </code>
    </div>
  );
}

function pretty(text: string): string {
  const plain = stripAnsi(text);
  const start = plain.search(/[[{]/);
  if (start < 0) return plain;
  try {
    return `${plain.slice(0, start)}${start > 0 ? '\n' : ''}${JSON.stringify(JSON.parse(plain.slice(start)), null, 2)}`;
  } catch {
    return plain;
  }
}

function LineDialog({ entry, onClose }: { readonly entry: Entry; readonly onClose: () => void }) {
  const text = pretty(entry.text);
  return (
    <Dialog title={`${entry.name} #${entry.pm_id}`} kind="wide" onClose={onClose}>
      <p class="sub">
        {stamp(entry.at)} · {entry.server} · {entry.stream === 'err' ? 'errors' : 'output'}
      </p>
      <pre class="whole">{text}</pre>
      <div class="row end">
        <CopyButton text={() => text} />
      </div>
    </Dialog>
  );
}
