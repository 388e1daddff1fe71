/** One metric over time: a chart, its legend, and the same numbers as a table for who cannot see a canvas. */
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { type Aligned, align, type RawSeries, stepOf } from '../../charts/align';
import { formatter } from '../../charts/axis';
import { inkOf, Plot } from '../../charts/plot';
import { liveValue, loadSeries, Tail } from '../../charts/series';
import { clock, stamp } from '../../format/time';
import { beat, fleet, linkState, now } from '../../store/live';
import { theme } from '../../theme';
import { Button, IconButton } from '../../ui/controls';
import { bounds, isLive, type Range, refreshEvery } from './ranges';

export type GroupBy = 'server' | 'process';

interface ChartProps {
  readonly bucket: string;
  readonly app: string;
  readonly server: string;
  readonly metric: string;
  readonly title: string;
  /** As the live state names it; the hub's word wins when it has one. */
  readonly unit: string;
  readonly by: GroupBy;
  readonly range: Range;
  readonly height: number;
  readonly onZoom: (from: number, to: number) => void;
}

const NONE: Aligned = { t: [], lines: [] };
const TABLE_ROWS = 200;
/** After so long the hub has stored what it knew when the page opened. */
const SETTLED_MS = 12_000;

export function Chart(props: ChartProps) {
  const { bucket, app, server, metric, title, by, range, height, onZoom } = props;
  const host = useRef<HTMLDivElement>(null);
  const card = useRef<HTMLElement>(null);
  const plot = useRef<Plot | null>(null);
  const history = useRef<readonly RawSeries[]>([]);
  const tail = useRef(new Tail());
  const [seen, setSeen] = useState(false);
  const [unit, setUnit] = useState(props.unit);
  const [state, setState] = useState<'loading' | 'ready' | 'failed'>('loading');
  const [problem, setProblem] = useState('');
  const [round, setRound] = useState(0);
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const [asTable, setAsTable] = useState(false);
  const [cursor, setCursor] = useState<number | null>(null);
  const zoom = useRef(onZoom);
  zoom.current = onZoom;

  // A chart asks for its data when it first comes near the viewport.
  useEffect(() => {
    const element = card.current;
    if (!element) return;
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some((e) => e.isIntersecting)) {
          setSeen(true);
          observer.disconnect();
        }
      },
      { rootMargin: '200px' },
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  // A hub that was away has what came meanwhile, and answers again.
  const [returns, setReturns] = useState(0);
  const wasLost = useRef(false);
  useEffect(() => {
    if (linkState.value === 'lost') wasLost.current = true;
    else if (linkState.value === 'open' && wasLost.current) {
      wasLost.current = false;
      setReturns((n) => n + 1);
    }
  }, [linkState.value]);

  const rangeKey = range.kind === 'fixed' ? `${range.from}-${range.to}` : range.id;
  useEffect(() => {
    if (!seen) return;
    const abort = new AbortController();
    const load = async () => {
      const [from, to] = bounds(range, now.peek());
      const points = Math.max(60, Math.min(1000, Math.round((host.current?.clientWidth ?? 500) - 70)));
      try {
        const answer = await loadSeries({ bucket, app, server, metric, from, to, points }, abort.signal);
        history.current = answer.series;
        if (answer.unit !== '') setUnit(answer.unit);
        setState('ready');
        setRound((n) => n + 1);
      } catch (error) {
        if (abort.signal.aborted) return;
        setProblem(error instanceof Error ? error.message : 'The history could not be read.');
        setState('failed');
      }
    };
    history.current = [];
    setState('loading');
    void load();
    // What the hub had not stored yet when the page opened is between its history and the live tail.
    const soon = isLive(range) ? setTimeout(load, SETTLED_MS) : undefined;
    const every = refreshEvery(range);
    const timer = every > 0 ? setInterval(() => document.visibilityState === 'visible' && load(), every) : undefined;
    return () => {
      abort.abort();
      clearTimeout(soon);
      clearInterval(timer);
    };
  }, [bucket, app, server, metric, rangeKey, seen, returns, state === 'failed' ? round : 0]);

  // The tail grows also while a long range hides it, so that a change to a short one has no hole.
  const state$ = fleet.value;
  const tick = beat.value;
  useEffect(() => {
    for (const s of state$?.servers.values() ?? []) {
      if (!s.online || (server !== '' && s.id !== server)) continue;
      for (const p of s.processes.values()) {
        if (p.name !== app) continue;
        const v = liveValue(p, metric);
        if (v !== null) tail.current.push(s.id, app, p.pm_id, Math.round(now.peek()), v);
      }
    }
  }, [tick]);

  const [from, to] = bounds(range, now.value);
  // The cross-hair renders often; lines change only with new history or, when drawn live, with the second.
  const data = useMemo(() => (seen ? compute() : NONE), [seen, round, state, by, rangeKey, isLive(range) ? tick : 0]);

  function compute(): Aligned {
    const raw = isLive(range) ? tail.current.behind(history.current, from) : history.current;
    const names = new Map([...(fleet.peek()?.servers.values() ?? [])].map((s) => [s.id, s.name]));
    const nameOf = (id: string) => names.get(id) ?? id;
    const longest = raw.reduce<readonly number[]>((t, s) => (s.t.length > t.length ? s.t : t), []);
    return align(
      raw,
      by === 'server'
        ? (s) => ({ key: s.server, label: nameOf(s.server) })
        : (s) => ({ key: `${s.server} ${s.pm_id}`, label: `${nameOf(s.server)} #${s.pm_id}` }),
      Math.max(1000, Math.round(stepOf(longest))),
    );
  }

  useLayoutEffect(() => {
    const element = host.current;
    if (!element || asTable) return;
    const made = new Plot(element, {
      unit,
      height,
      sync: 'app',
      onZoom: (a, b) => zoom.current(a, b),
      onCursor: setCursor,
    });
    plot.current = made;
    const observer = new ResizeObserver(() => made.resize());
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [unit, height, asTable]);

  const skin = useRef(theme.value);
  useLayoutEffect(() => {
    if (skin.current !== theme.value) {
      skin.current = theme.value;
      plot.current?.forget();
    }
    if (data.t.length > 0) plot.current?.show(data, from, to, hidden);
  }, [data, from, to, hidden, theme.value, asTable, unit]);

  const say = formatter(unit);
  const at = cursor ?? data.t.length - 1;
  const empty = state === 'ready' && data.t.length === 0;
  const toggle = (key: string) => {
    const next = new Set(hidden);
    if (!next.delete(key)) next.add(key);
    setHidden(next);
  };
  const only = (key: string) => setHidden(new Set(data.lines.filter((l) => l.key !== key).map((l) => l.key)));

  return (
    <figure ref={card} class="chart panel" data-metric={metric} aria-label={`${title} over time`}>
      <figcaption>
        <h2 class="cut" title={metric}>
          {title}
        </h2>
        <span class="when muted">
          {cursor !== null && data.t[cursor] !== undefined ? stamp(data.t[cursor] * 1000) : ''}
        </span>
        <IconButton
          icon={asTable ? 'activity' : 'table'}
          label={asTable ? 'Show as chart' : 'Show as table'}
          small
          on={asTable}
          onClick={() => setAsTable(!asTable)}
        />
      </figcaption>
      {asTable ? (
        <div
          class="twin"
          style={{ height: `${height}px` }}
          tabIndex={0}
          role="region"
          aria-label={`${title} as a table`}
        >
          <Twin data={data} say={say} />
        </div>
      ) : (
        <div class="plot" ref={host} style={{ height: `${height}px` }}>
          {state === 'loading' && data.t.length === 0 ? (
            <div class="skel fill" role="status" aria-label="Loading" />
          ) : null}
          {empty ? <p class="fill muted">No data in this range</p> : null}
          {state === 'failed' ? (
            <div class="fill" role="alert">
              <p>{problem}</p>
              <Button
                kind="small"
                icon="reload"
                onClick={() => {
                  setRound((n) => n + 1);
                }}
              >
                Try again
              </Button>
            </div>
          ) : null}
        </div>
      )}
      <div class="legend" role="group" aria-label="Lines">
        {data.lines.map((l, i) => {
          const v = latest(l.avg, at, cursor !== null);
          return (
            <button
              key={l.key}
              type="button"
              aria-pressed={!hidden.has(l.key)}
              title="Click to hide or show, double-click for this alone"
              onClick={() => toggle(l.key)}
              onDblClick={() => only(l.key)}
            >
              <Swatch ink={inkOf(i)} />
              <span class="cut">{l.label}</span>
              <b class="live">{say(v)}</b>
            </button>
          );
        })}
        {hidden.size > 0 ? (
          <button type="button" onClick={() => setHidden(new Set())}>
            Show all
          </button>
        ) : null}
      </div>
    </figure>
  );
}

function Swatch({ ink }: { readonly ink: string }) {
  return <i class="swatch" style={{ background: `var(${ink})` }} aria-hidden="true" />;
}

/** The value at an index; without a cross-hair the newest of the last few points, for lines that lag a second behind others. */
function latest(values: readonly (number | null)[], at: number, exact: boolean): number | null {
  for (let i = at; i >= Math.max(0, exact ? at : at - 8); i--) {
    const v = values[i];
    if (v !== null && v !== undefined) return v;
  }
  return null;
}

function Twin({ data, say }: { readonly data: Aligned; readonly say: (v: number | null | undefined) => string }) {
  const stride = Math.max(1, Math.ceil(data.t.length / TABLE_ROWS));
  const rows: number[] = [];
  for (let i = data.t.length - 1; i >= 0; i -= stride) rows.push(i);
  const sameDay = data.t.length > 0 && (data.t[data.t.length - 1] ?? 0) - (data.t[0] ?? 0) < 86_400;
  return (
    <table class="grid">
      <thead>
        <tr>
          <th scope="col">Time</th>
          {data.lines.map((l) => (
            <th key={l.key} scope="col" class="num">
              {l.label}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((i) => {
          const at = (data.t[i] ?? 0) * 1000;
          return (
            <tr key={i}>
              <td>{sameDay ? clock(at) : stamp(at)}</td>
              {data.lines.map((l) => (
                <td key={l.key} class="num">
                  {say(l.avg[i])}
                </td>
              ))}
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
