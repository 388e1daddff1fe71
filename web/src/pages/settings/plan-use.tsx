/** The use of the plan, server by server and app by app: what counts, what is watched, what is over the plan, what is free. */
import { useCallback, useEffect, useState } from 'preact/hooks';
import { stamp } from '../../format/time';
import { count } from '../../format/units';
import * as api from '../../link/api';
import { bucketId } from '../../store/buckets';
import { fleet } from '../../store/live';
import { Failure, Search, Skeleton } from '../../ui/controls';
import { Icon } from '../../ui/icons';
import { appRows, type PlanTable, readPlanTable, WORD } from './plan-table';

const RELOAD_MS = 5_000;

export function PlanUse() {
  const id = bucketId.value;
  const [table, setTable] = useState<PlanTable | null>(null);
  const [problem, setProblem] = useState('');
  const [filter, setFilter] = useState('');
  const [overOnly, setOverOnly] = useState(false);
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const load = useCallback(async () => {
    try {
      setTable(readPlanTable(await api.get(`api/bucket/${id}/plan`)));
      setProblem('');
    } catch (error) {
      setProblem(error instanceof Error ? error.message : 'The use of the plan could not be read.');
    }
  }, [id]);
  // What comes, goes, or changes sides is worth a new look.
  const shape = [...(fleet.value?.servers.values() ?? [])]
    .map((s) => `${s.id}${s.state}${[...s.processes.values()].map((p) => `${p.key}${p.over_plan}`)}`)
    .join();
  useEffect(() => void load(), [load, shape]);
  useEffect(() => {
    const timer = setInterval(() => void load(), RELOAD_MS);
    return () => clearInterval(timer);
  }, [load]);
  if (problem !== '' && !table) return <Failure message={problem} onRetry={load} />;
  if (!table) return <Skeleton rows={5} label="Loading the use of the plan" />;

  const rows = appRows(table, filter, overOnly);
  const toggle = (key: string) => {
    const next = new Set(open);
    if (!next.delete(key)) next.add(key);
    setOpen(next);
  };
  return (
    <section class="planuse" aria-label="Use of the plan">
      <Meter table={table} />
      <div class="boxtools">
        <Search value={filter} label="Filter apps and servers" onInput={setFilter} />
        <label class="check inline">
          <input type="checkbox" checked={overOnly} onChange={(e) => setOverOnly(e.currentTarget.checked)} />
          <span>Over the plan only</span>
        </label>
      </div>
      <div class="panel box">
        <table class="grid" data-test="plan-use">
          <thead>
            <tr>
              <th scope="col">App</th>
              <th scope="col">Server</th>
              <th scope="col" class="num">
                Count
              </th>
              <th scope="col" class="num">
                Monitored
              </th>
              <th scope="col" class="num">
                Over plan
              </th>
              <th scope="col" class="num wide">
                Free
              </th>
              <th scope="col" class="wide">
                First seen
              </th>
            </tr>
          </thead>
          {rows.map((row) => (
            <tbody key={row.key}>
              <tr data-app={row.name} data-on={row.server}>
                <td>
                  <button
                    type="button"
                    class="rowtog"
                    aria-expanded={open.has(row.key)}
                    onClick={() => toggle(row.key)}
                  >
                    <Icon name={open.has(row.key) ? 'down' : 'right'} />
                    <b>{row.name}</b>
                    {row.entries.length > 1 ? <span class="times">×{row.entries.length}</span> : null}
                    {row.module ? <span class="badge">module</span> : null}
                  </button>
                </td>
                <td>{row.server}</td>
                <td class="num">{count(row.counted)}</td>
                <td class="num">{count(row.monitored)}</td>
                <td class={row.over > 0 ? 'num bad' : 'num'}>{count(row.over)}</td>
                <td class="num wide">{count(row.free)}</td>
                <td class="wide sub">{row.since > 0 ? stamp(row.since) : '–'}</td>
              </tr>
              {open.has(row.key)
                ? row.entries.map((e) => (
                    <tr key={e.key} class="one" data-entry={e.key}>
                      <td>
                        <span class="pmid">{e.pmId}</span> <span class="sub">{e.status}</span>
                      </td>
                      <td colSpan={4}>
                        <span class={e.plan === 'over' ? 'bad' : 'sub'}>{WORD[e.plan]}</span>
                      </td>
                      <td class="wide" />
                      <td class="wide sub">{e.since > 0 ? stamp(e.since) : '–'}</td>
                    </tr>
                  ))
                : null}
            </tbody>
          ))}
          {rows.length === 0 ? (
            <tbody>
              <tr>
                <td colSpan={7} class="muted">
                  {table.servers.length === 0 ? 'No server is linked, so nothing counts.' : 'Nothing matches.'}
                </td>
              </tr>
            </tbody>
          ) : null}
        </table>
      </div>
      <p class="muted">
        Stopped processes count, deleted ones do not. Modules count, but for {table.freeModules.join(' and ')}. Beyond
        the plan the youngest are listed, not monitored. What was excluded with <code>pilothouse unmonitor</code> never
        reaches the hub, so it is not here.
      </p>
    </section>
  );
}

function Meter({ table: t }: { readonly table: PlanTable }) {
  const over = t.overPlan > 0;
  const share = t.limit === null || t.limit === 0 ? 0 : Math.min(100, (t.used / t.limit) * 100);
  return (
    <div class="panel meter">
      <div>
        <span class="lbl">Processes</span>
        <b data-test="plan-total" class={over ? 'bad' : ''}>
          {count(t.used)} of {t.limit === null ? 'any number' : count(t.limit)}
        </b>
      </div>
      <div>
        <span class="lbl">Over the plan</span>
        <b class={over ? 'bad' : ''}>{count(t.overPlan)}</b>
      </div>
      <div>
        <span class="lbl">Free</span>
        <b>{count(t.free)}</b>
      </div>
      <div>
        <span class="lbl">Servers</span>
        <b>
          {count(t.servers.length)}
          {t.maxServers === null ? '' : ` of ${count(t.maxServers)}`}
        </b>
      </div>
      <div>
        <span class="lbl">Plan</span>
        <b>{t.plan}</b>
      </div>
      {t.limit === null ? null : (
        <progress class={over ? 'bar over' : 'bar'} max={100} value={share} aria-label="Share of the plan in use" />
      )}
    </div>
  );
}
