/** One app on all its servers: where it runs now, and its metrics over time. */
import './app.css';
import { useEffect, useMemo, useState } from 'preact/hooks';
import { localInput, span } from '../../format/time';
import { bytes, count, percent } from '../../format/units';
import * as api from '../../link/api';
import type { Server } from '../../link/protocol';
import { setQuery, to } from '../../router';
import { type App, metricsOf, statusOf } from '../../store/apps';
import { bucketId } from '../../store/buckets';
import { apps, fleet, now, renewBucket, watchError } from '../../store/live';
import { Button, Failure, IconButton, Search, Segment, Skeleton } from '../../ui/controls';
import { Icon } from '../../ui/icons';
import { openMenu } from '../../ui/overlay';
import { across, barrier, command, hindrance, mayAct, menuOf, objection, running, stop } from '../commands';
import { sortServers } from '../overview/rows';
import { Status, Value } from '../values';
import { Chart, type GroupBy } from './chart';
import { bounds, PRESETS, readRange } from './ranges';

interface Place {
  readonly server: Server;
  readonly app: App;
}

function useMetricNames(bucket: string, app: string, live: readonly string[]): readonly string[] {
  const [stored, setStored] = useState<readonly string[]>([]);
  useEffect(() => {
    const abort = new AbortController();
    api.get(`api/bucket/${bucket}/metrics?${new URLSearchParams({ app })}`, abort.signal).then(
      (answer) => {
        const list = Array.isArray(answer) ? answer : [];
        setStored(list.map((m) => (typeof m === 'string' ? m : String((m as { name?: unknown } | null)?.name ?? ''))));
      },
      // The live state names the metrics too; only those of silent processes would be missing.
      () => {},
    );
    return () => abort.abort();
  }, [bucket, app]);
  const key = live.join('\n');
  return useMemo(() => {
    const all = new Set([...live, ...stored]);
    all.delete('cpu');
    all.delete('memory');
    all.delete('');
    return [...all];
  }, [key, stored]);
}

export function AppPage({ app: name, query }: { readonly app: string; readonly query: URLSearchParams }) {
  const [filter, setFilter] = useState('');
  const bucket = bucketId.value;
  const state = fleet.value;
  const places: Place[] = [];
  for (const server of sortServers(state?.servers.values() ?? [])) {
    const found = apps(server).find((a) => a.name === name);
    if (found) places.push({ server, app: found });
  }
  const wanted = query.get('server') ?? '';
  const chosen = places.filter((p) => wanted === '' || p.server.id === wanted);
  const units = new Map<string, string>();
  for (const p of chosen) for (const m of metricsOf(p.app)) units.set(m.name, m.unit);
  const names = useMetricNames(bucket, name, [...units.keys()]);

  if (watchError.value && !state) return <Failure message={watchError.value.message} onRetry={renewBucket} />;
  if (!state) return <Skeleton rows={6} label="Loading the app" />;

  const range = readRange(query);
  const instances = chosen.reduce((n, p) => n + p.app.instances.length, 0);
  const by: GroupBy =
    query.get('by') === 'process' || query.get('by') === 'server'
      ? (query.get('by') as GroupBy)
      : instances > 1 && places.length > 1
        ? 'server'
        : 'process';
  const zoom = (from: number, until: number) => setQuery({ from: String(from), to: String(until), range: null });
  const needle = filter.trim().toLowerCase();
  const system = [
    { metric: 'cpu', title: 'CPU', unit: '%' },
    { metric: 'memory', title: 'Memory', unit: 'B' },
  ].filter((m) => m.title.toLowerCase().includes(needle));
  const custom = names.filter((n) => n.toLowerCase().includes(needle));
  const shared = { bucket, app: name, server: wanted, by, range, onZoom: zoom };
  const [from, until] = bounds(range, now.peek());

  return (
    <div class="scroll apppage">
      {places.length === 0 ? (
        <div class="empty">
          <Icon name="app" />
          <h2>No server runs “{name}” now</h2>
          <p>What it measured before is below, as long as the hub keeps it.</p>
          <a class="btn" href={to.servers(bucket)}>
            All servers
          </a>
        </div>
      ) : (
        <Places places={places} chosen={wanted} />
      )}
      <div class="apptools" role="group" aria-label="What the charts show">
        <Segment
          label="Time range"
          value={range.kind === 'preset' ? range.id : 'custom'}
          onChange={(id) => {
            if (id === 'custom') zoom(Math.floor(from), Math.ceil(until));
            else setQuery({ range: id, from: null, to: null });
          }}
          options={[...PRESETS.map((p) => ({ value: p.id, text: p.text })), { value: 'custom', text: 'Custom' }]}
        />
        {range.kind === 'fixed' ? (
          <CustomRange
            key={`${range.from}-${range.to}`}
            from={range.from}
            until={range.to}
            onChange={zoom}
            onReset={() => setQuery({ from: null, to: null, range: null })}
          />
        ) : null}
        <Segment
          label="One line per"
          value={by}
          onChange={(v) => setQuery({ by: v })}
          options={[
            { value: 'server', text: 'Per server' },
            { value: 'process', text: 'Per process' },
          ]}
        />
        <span class="grow" />
        <Search value={filter} label="Filter metrics" onInput={setFilter} />
      </div>
      {system.length > 0 ? (
        <section aria-label="System usage" class="charts two">
          {system.map((m) => (
            <Chart key={m.metric} {...shared} metric={m.metric} title={m.title} unit={m.unit} height={230} />
          ))}
        </section>
      ) : null}
      {custom.length > 0 ? (
        <section aria-label="Metrics of the app" class="charts">
          {custom.map((n) => (
            <Chart key={n} {...shared} metric={n} title={n} unit={units.get(n) ?? ''} height={170} />
          ))}
        </section>
      ) : null}
      {needle !== '' && system.length + custom.length === 0 ? <p class="empty">No metric matches “{filter}”.</p> : null}
    </div>
  );
}

interface CustomRangeProps {
  readonly from: number;
  readonly until: number;
  readonly onChange: (from: number, until: number) => void;
  readonly onReset: () => void;
}

function CustomRange({ from, until, onChange, onReset }: CustomRangeProps) {
  const [a, setA] = useState(localInput(from));
  const [b, setB] = useState(localInput(until));
  const wrong = !(Date.parse(b) > Date.parse(a));
  return (
    <form
      class="row custom"
      onSubmit={(e) => {
        e.preventDefault();
        if (!wrong) onChange(Date.parse(a), Date.parse(b));
      }}
    >
      <input
        class="input"
        type="datetime-local"
        aria-label="From"
        value={a}
        onInput={(e) => setA(e.currentTarget.value)}
      />
      <span class="muted">to</span>
      <input
        class="input"
        type="datetime-local"
        aria-label="To"
        value={b}
        aria-invalid={wrong}
        onInput={(e) => setB(e.currentTarget.value)}
      />
      <Button type="submit" disabled={wrong}>
        Show
      </Button>
      <IconButton icon="close" label="Back to the live range" small onClick={onReset} />
    </form>
  );
}

function Places({ places, chosen }: { readonly places: readonly Place[]; readonly chosen: string }) {
  const targets = places.filter((p) => p.app.shown > 0);
  const able = (verb: string) => targets.some((p) => hindrance(p.server, verb) === '');
  return (
    <section class="panel places" aria-label="Where it runs">
      {mayAct() && targets.length > 1 ? (
        <div class="row across">
          <span class="sub">On all {targets.length} servers</span>
          <Button kind="small" icon="restart" disabled={!able('restart')} onClick={() => across(targets, 'restart')}>
            Restart…
          </Button>
          <Button kind="small" icon="reload" disabled={!able('reload')} onClick={() => across(targets, 'reload')}>
            Reload…
          </Button>
          {targets.some((p) => p.app.instances.some((i) => i.versioning)) ? (
            <Button kind="small" icon="branch" disabled={!able('pull')} onClick={() => across(targets, 'pull')}>
              Pull…
            </Button>
          ) : null}
        </div>
      ) : null}
      <table class="grid">
        <thead>
          <tr>
            <th scope="col">Server</th>
            <th scope="col">State</th>
            <th scope="col" class="num roomy" title="Mean of the instances">
              CPU
            </th>
            <th scope="col" class="num" title="Mean of the instances">
              Memory
            </th>
            <th scope="col" class="num wide">
              Restarts
            </th>
            <th scope="col" class="num wide">
              Uptime
            </th>
            <th scope="col" class="wide">
              Revision
            </th>
            <th scope="col">
              <span class="sr">Commands</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {places.map(({ server, app }) => {
            const status = statusOf(app);
            const target = { server, app };
            const because = (verb: string) => objection(target, verb);
            const on = running(target);
            const git = app.instances.find((p) => p.versioning)?.versioning;
            return (
              <tr key={server.id} class={server.online ? '' : 'dim'} data-server={server.id}>
                <td>
                  <button
                    type="button"
                    class={`btn plain small${chosen === server.id ? ' on' : ''}`}
                    aria-pressed={chosen === server.id}
                    title="Show this server alone"
                    onClick={() => setQuery({ server: chosen === server.id ? null : server.id })}
                  >
                    {server.name}
                    {app.instances.length > 1 ? <span class="times">×{app.instances.length}</span> : null}
                  </button>
                </td>
                <td>
                  <Status status={status.status} text={status.text} past={!server.online} />
                </td>
                <td class="num roomy">
                  <Value text={percent(app.cpu)} measure="cpu" value={app.cpu} />
                </td>
                <td class="num">
                  <Value text={bytes(app.memory)} measure="memory" value={app.memory} />
                </td>
                <td class="num wide">
                  <span class="live">{count(app.restarts)}</span>
                </td>
                <td class="num wide">
                  <span class="live">{app.since > 0 && server.online ? span(now.value - app.since) : '–'}</span>
                </td>
                <td class="wide sub">
                  {git ? [git.branch, git.revision.slice(0, 10)].filter(Boolean).join(' · ') : '–'}
                </td>
                <td>
                  <div class="row end tight">
                    {mayAct() ? (
                      <>
                        <Button
                          kind="small"
                          icon={on ? 'restart' : 'start'}
                          because={because(on ? 'restart' : 'start')}
                          onClick={() => command(target, on ? 'restart' : 'start')}
                        >
                          {on ? 'Restart' : 'Start'}
                        </Button>
                        {on ? (
                          <>
                            <Button
                              kind="small"
                              icon="reload"
                              because={because('reload')}
                              onClick={() => command(target, 'reload')}
                            >
                              Reload
                            </Button>
                            <Button kind="small" icon="stop" because={because('stop')} onClick={() => stop(target)}>
                              Stop
                            </Button>
                          </>
                        ) : null}
                      </>
                    ) : null}
                    <a class="btn small" href={to.logs(bucketId.value, { server: server.id, app: app.name })}>
                      <Icon name="logs" />
                      <span>Logs</span>
                    </a>
                    <IconButton
                      small
                      icon="more"
                      label={`More for ${app.name} on ${server.name}`}
                      aria-haspopup="menu"
                      onClick={(e) =>
                        openMenu(e.currentTarget, `${app.name} on ${server.name}`, menuOf(target), barrier(target))
                      }
                    />
                  </div>
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}
