/** Servers overview: what runs where, once a second. */
import './overview.css';
import { signal } from '@preact/signals';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { drawSparks, forgetColours } from '../../charts/spark';
import { count } from '../../format/units';
import type { Server } from '../../link/protocol';
import { go, to } from '../../router';
import { bucket, bucketId } from '../../store/buckets';
import { apps, beat, fleet, linkState, renewBucket, watchError } from '../../store/live';
import { useWindow } from '../../table/use-window';
import { tops } from '../../table/window';
import { theme } from '../../theme';
import { Failure, Search, Segment, Skeleton } from '../../ui/controls';
import { Icon } from '../../ui/icons';
import { lazy } from '../../ui/lazy';
import { ConnectPanel } from '../connect';
import { AppCells, InstanceCells, InstancesHead, ServerCells, StripCells } from './cells';
import { Detail } from './detail';
import { layout, type Row, ranks, type SortBy, sortServers, troubled } from './rows';

const Checks = lazy(() => import('./checks').then((m) => m.Checks));
const DeleteServers = lazy(() => import('../settings/delete-servers').then((m) => m.DeleteServers));

/** What is open stays so while one visits other pages. */
const open = signal<ReadonlySet<string>>(new Set());
const filter = signal('');
const problemsOnly = signal<'all' | 'problems'>('all');
const sort = signal<{ readonly by: SortBy; readonly descending: boolean }>({ by: 'name', descending: false });

const RANK_EVERY_MS = 5000;
const HEAD = 30;

function toggle(key: string, want?: boolean): void {
  const next = new Set(open.value);
  if (want ?? !next.has(key)) next.add(key);
  else next.delete(key);
  open.value = next;
}

function useNarrow(): boolean {
  const query = useMemo(() => matchMedia('(max-width: 700px)'), []);
  const [narrow, set] = useState(query.matches);
  useEffect(() => {
    const update = () => set(query.matches);
    query.addEventListener('change', update);
    return () => query.removeEventListener('change', update);
  }, [query]);
  return narrow;
}

interface HeadCellProps {
  readonly by: SortBy;
  readonly text: string;
  readonly class: string;
}

function HeadCell({ by, text, class: cls }: HeadCellProps) {
  const active = sort.value.by === by;
  const dir = active ? (sort.value.descending ? 'descending' : 'ascending') : 'none';
  return (
    <div class={`${cls} hc`} role="columnheader" aria-sort={dir}>
      <button
        type="button"
        onClick={() => {
          sort.value = active ? { by, descending: !sort.value.descending } : { by, descending: by !== 'name' };
        }}
      >
        {text}
        {active && !(by === 'name' && !sort.value.descending) ? <i class={`arrow ${dir}`} aria-hidden="true" /> : null}
      </button>
    </div>
  );
}

function Head() {
  return (
    <div class="r thead" role="row" aria-rowindex={1}>
      <HeadCell by="name" text="App" class="c-name" />
      <div class="c-status hc" role="columnheader">
        State
      </div>
      <HeadCell by="cpu" text="CPU" class="c-cpu" />
      <HeadCell by="memory" text="Memory" class="c-mem" />
      <div class="c-lat hc" role="columnheader">
        HTTP
      </div>
      <div class="c-loop hc" role="columnheader">
        Loop lag
      </div>
      <HeadCell by="restarts" text="Restarts" class="c-rest" />
      <div class="c-up hc" role="columnheader">
        Uptime
      </div>
      <div class="acts hc" role="columnheader">
        <span class="sr">Commands</span>
      </div>
    </div>
  );
}

interface LineProps {
  readonly row: Row;
  readonly index: number;
  readonly active: boolean;
  readonly height: number;
  readonly twins: (s: Server) => readonly Server[];
  readonly onCheck: (s: Server) => void;
  readonly onDelete: (s: Server) => void;
}

function Line({ row, index, active, height, twins, onCheck, onDelete }: LineProps) {
  const dim = !row.server.online && row.kind !== 'server' && row.kind !== 'strip';
  const over =
    (row.kind === 'app' && row.app.shown === 0) || (row.kind === 'instance' && row.process.over_plan) ? ' over' : '';
  return (
    <div
      class={`r ${row.kind}${dim ? ' dim' : ''}${over}`}
      role="row"
      aria-level={row.kind === 'server' || row.kind === 'strip' ? 1 : row.kind === 'app' ? 2 : 3}
      aria-expanded={row.kind === 'app' ? row.open : undefined}
      aria-rowindex={index + 2}
      data-row={index}
      data-kind={row.kind}
      data-id={row.key}
      tabIndex={active ? 0 : -1}
      style={{ height: `${height}px` }}
    >
      {row.kind === 'server' ? (
        <ServerCells server={row.server} twins={twins(row.server)} onCheck={onCheck} onDelete={onDelete} />
      ) : row.kind === 'strip' ? (
        <StripCells row={row} twins={twins(row.server)} />
      ) : row.kind === 'app' ? (
        <AppCells server={row.server} app={row.app} open={row.open} />
      ) : row.kind === 'detail' ? (
        <Detail server={row.server} app={row.app} />
      ) : row.kind === 'instances' ? (
        <InstancesHead app={row.app} />
      ) : row.kind === 'instance' ? (
        <InstanceCells row={row} />
      ) : (
        <div class="none" role="gridcell">
          {row.filtered ? 'No app needs attention here' : 'No application has been launched'}
        </div>
      )}
    </div>
  );
}

function Summary({ servers }: { readonly servers: readonly Server[] }) {
  let processes = 0;
  let errored = 0;
  let online = 0;
  for (const s of servers) {
    processes += s.processes.size;
    if (s.online) online++;
    for (const a of apps(s)) errored += a.errored;
  }
  return (
    <p class="sum">
      <span>
        <b>{count(servers.length)}</b> server{servers.length === 1 ? '' : 's'}
      </span>
      {online < servers.length ? <span class="bad">{count(servers.length - online)} offline</span> : null}
      <span>
        <b>{count(processes)}</b> process{processes === 1 ? '' : 'es'}
      </span>
      {errored > 0 ? <span class="bad">{count(errored)} errored</span> : null}
    </p>
  );
}

export function Overview() {
  const state = fleet.value;
  if (watchError.value && !state) return <Failure message={watchError.value.message} onRetry={renewBucket} />;
  if (!state) {
    // The bar at the top says so when the hub does not answer.
    return <Skeleton rows={linkState.value === 'lost' ? 4 : 7} label="Loading the servers" />;
  }
  return state.servers.size === 0 ? <Empty /> : <Table servers={state.servers} />;
}

function Empty() {
  const b = bucket.value;
  return (
    <div class="scroll">
      <div class="wizard panel">
        <Icon name="server" />
        <h2>Connect the first server</h2>
        <p class="sub">One command on the server, and its apps are here a second later. This page fills by itself.</p>
        {b ? <ConnectPanel bucket={b} /> : null}
      </div>
    </div>
  );
}

function Table({ servers: map }: { readonly servers: ReadonlyMap<string, Server> }) {
  const narrow = useNarrow();
  const scroller = useRef<HTMLDivElement>(null);
  const body = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [active, setActive] = useState('');
  const [deleting, setDeleting] = useState<Server | null>(null);
  const [checking, setChecking] = useState('');
  const rank = useRef<{ at: number; by: SortBy; map: ReadonlyMap<string, number> }>({
    at: 0,
    by: 'name',
    map: new Map(),
  });

  // Scrolling renders often; what follows changes only with a frame of the hub or a wish of the reader.
  const { servers, rows, heights, top, attention } = useMemo(() => {
    const ordered = sortServers(map.values());
    const { by, descending } = sort.value;
    if (by !== 'name' && (rank.current.by !== by || Date.now() - rank.current.at > RANK_EVERY_MS)) {
      const all = ordered.flatMap((s) => apps(s));
      rank.current = { at: Date.now(), by, map: ranks(all, by) };
    }
    const laid = layout({
      servers: ordered,
      apps,
      filter: filter.value,
      problemsOnly: problemsOnly.value === 'problems',
      open: open.value,
      sort: by,
      descending,
      rank: rank.current.map,
      narrow,
      at: fleet.value?.at ?? 0,
    });
    const troubles = ordered.reduce((n, s) => n + apps(s).filter(troubled).length, 0);
    return { servers: ordered, ...laid, top: tops(laid.heights), attention: troubles };
  }, [map, filter.value, problemsOnly.value, open.value, sort.value, narrow]);
  const win = useWindow(scroller, top);
  const { first, end, offset } = win.span;

  const twins = (s: Server) => servers.filter((t) => t.online && t.name === s.name);
  // As it is now: what is mended while somebody looks shows at once.
  const checked = map.get(checking);
  const activeIndex = active === '' ? -1 : rows.findIndex((r) => r.key === active);
  const focusable = activeIndex >= first && activeIndex < end ? activeIndex : first;

  useLayoutEffect(() => {
    if (canvas.current && body.current) drawSparks(canvas.current, body.current);
  }, [beat.value, first, end, rows.length, narrow]);

  useEffect(() => {
    forgetColours();
    if (canvas.current && body.current) drawSparks(canvas.current, body.current);
  }, [theme.value]);

  useEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const observer = new ResizeObserver(() => {
      if (canvas.current && body.current) drawSparks(canvas.current, body.current);
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const focusRow = (index: number) => {
    const row = rows[index];
    if (!row) return;
    setActive(row.key);
    win.reveal(index, HEAD);
    // The row may come into the page only with the scroll event that was just caused.
    requestAnimationFrame(() =>
      requestAnimationFrame(() =>
        body.current?.querySelector<HTMLElement>(`[data-row="${index}"]`)?.focus({ preventScroll: true }),
      ),
    );
  };

  const onKey = (e: KeyboardEvent) => {
    const target = e.target as HTMLElement;
    const line = target.closest<HTMLElement>('[data-row]');
    if (!line) return;
    const index = Number(line.dataset.row);
    const row = rows[index];
    if (!row) return;
    const onRow = target === line;
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 12, PageUp: -12 }[e.key];
    if (step !== undefined) focusRow(Math.max(0, Math.min(rows.length - 1, index + step)));
    else if (e.key === 'Home') focusRow(0);
    else if (e.key === 'End') focusRow(rows.length - 1);
    else if (e.key === 'Enter' && onRow && 'app' in row) go(to.app(bucketId.value, row.app.name));
    else if (e.key === ' ' && onRow && row.kind === 'app') toggle(row.key);
    else if (e.key === 'ArrowRight' || e.key === 'ArrowLeft') {
      if (onRow && row.kind === 'app' && row.open !== (e.key === 'ArrowRight')) toggle(row.key, e.key === 'ArrowRight');
      else if (onRow && e.key === 'ArrowLeft' && (row.kind === 'instance' || row.kind === 'detail')) {
        focusRow(rows.findIndex((r) => r.key === row.app.key));
      } else moveInRow(line, target, e.key === 'ArrowRight' ? 1 : -1);
    } else return;
    e.preventDefault();
  };

  return (
    <>
      <div class="toolbar">
        <Summary servers={servers} />
        <span class="grow" />
        <Segment
          label="Which apps"
          value={problemsOnly.value}
          onChange={(v) => {
            problemsOnly.value = v;
          }}
          options={[
            { value: 'all', text: 'All' },
            {
              value: 'problems',
              text: attention > 0 ? `Problems ${attention}` : 'Problems',
            },
          ]}
        />
        <Search
          value={filter.value}
          label="Filter apps and servers"
          onInput={(v) => {
            filter.value = v;
          }}
        />
      </div>
      <div
        ref={scroller}
        class="fleet"
        role="treegrid"
        tabIndex={-1}
        aria-label="Servers and their apps"
        aria-rowcount={rows.length + 1}
        onKeyDown={onKey}
        onFocusIn={(e) => {
          const line = (e.target as HTMLElement).closest<HTMLElement>('[data-row]');
          const key = line ? rows[Number(line.dataset.row)]?.key : undefined;
          if (key !== undefined && key !== active) setActive(key);
        }}
        onClick={(e) => {
          const target = e.target as HTMLElement;
          if (target.closest('a,button')) return;
          const line = target.closest<HTMLElement>('[data-kind="app"]');
          if (line && getSelection()?.isCollapsed !== false) toggle(line.dataset.id ?? '');
        }}
      >
        <Head />
        <div class="sizer" role="presentation" style={{ height: `${win.height}px` }}>
          <div ref={body} class="window" role="presentation" style={{ transform: `translateY(${offset}px)` }}>
            {rows.slice(first, end).map((row, i) => (
              <Line
                key={row.key}
                row={row}
                index={first + i}
                active={first + i === focusable}
                height={heights[first + i] ?? 0}
                twins={twins}
                onCheck={(s) => setChecking(s.id)}
                onDelete={setDeleting}
              />
            ))}
            {/* A picture of numbers that stand beside it. */}
            <div class="sparks" aria-hidden="true">
              <canvas ref={canvas} />
            </div>
          </div>
        </div>
        {rows.length === 0 ? (
          <div role="row">
            <div class="empty" role="gridcell">
              <Icon name={problemsOnly.value === 'problems' && filter.value === '' ? 'ok' : 'search'} />
              <p>{filter.value === '' ? 'No app needs attention.' : `Nothing matches “${filter.value}”.`}</p>
            </div>
          </div>
        ) : null}
      </div>
      {checked ? <Checks server={checked} twins={twins(checked)} onClose={() => setChecking('')} /> : null}
      {deleting ? <DeleteServers servers={[deleting]} onClose={() => setDeleting(null)} /> : null}
    </>
  );
}

/** Left and right go through what can be pressed in a row. */
function moveInRow(line: HTMLElement, from: HTMLElement, step: number): void {
  const stops = [line, ...line.querySelectorAll<HTMLElement>('a,button')];
  stops[Math.max(0, Math.min(stops.length - 1, stops.indexOf(from) + step))]?.focus();
}
