/** The use of the plan, server by server and app by app: what counts, what is watched, what is over the plan, what is free. */
import { useState } from 'preact/hooks';
import { stamp } from '../../format/time';
import { count } from '../../format/units';
import { bucketId } from '../../store/buckets';
import { Failure, Search, Skeleton } from '../../ui/controls';
import { Icon } from '../../ui/icons';
import { type Column, Listing, useTold } from './listing';
import { appRows, type PlanTable, readPlanTable, WORD } from './plan-table';

const COLUMNS: readonly Column[] = [
  { head: 'App' },
  { head: 'Server', kind: 'roomy' },
  { head: 'Count', kind: 'num' },
  { head: 'Monitored', kind: 'num' },
  { head: 'Over plan', kind: 'num' },
  { head: 'Free', kind: 'num wide' },
  { head: 'First seen', kind: 'wide' },
];

export function PlanUse() {
  const [filter, setFilter] = useState('');
  const [overOnly, setOverOnly] = useState(false);
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  // What comes, goes, or changes sides is worth a new look.
  const {
    value: table,
    problem,
    reload,
  } = useTold(
    `api/bucket/${bucketId.value}/plan`,
    readPlanTable,
    (s) => `${s.state}${[...s.processes.values()].map((p) => `${p.key}${p.over_plan}`)}`,
  );
  if (problem !== '' && !table) return <Failure message={problem} onRetry={reload} />;
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
      <Listing
        name="plan-use"
        columns={COLUMNS}
        empty={
          rows.length > 0
            ? ''
            : table.servers.length === 0
              ? 'No server is linked, so nothing counts.'
              : 'Nothing matches.'
        }
      >
        {rows.map((row) => (
          <tbody key={row.key}>
            <tr data-app={row.name} data-on={row.server}>
              <td>
                <button type="button" class="rowtog" aria-expanded={open.has(row.key)} onClick={() => toggle(row.key)}>
                  <Icon name={open.has(row.key) ? 'down' : 'right'} />
                  <b>{row.name}</b>
                  {row.entries.length > 1 ? <span class="times">×{row.entries.length}</span> : null}
                  {row.module ? <span class="badge">module</span> : null}
                </button>
                <div class="muted narrow">{row.server}</div>
              </td>
              <td class="roomy">{row.server}</td>
              <td class="num">{count(row.counted)}</td>
              <td class="num">{count(row.monitored)}</td>
              <td class={row.over > 0 ? 'num bad' : 'num'}>{count(row.over)}</td>
              <td class="num wide">{count(row.free)}</td>
              <td class="wide sub when">{row.since > 0 ? stamp(row.since) : '–'}</td>
            </tr>
            {open.has(row.key)
              ? row.entries.map((e) => (
                  <tr key={e.key} class="one" data-entry={e.key}>
                    <td>
                      <span class="pmid">{e.pmId}</span> <span class="sub">{e.status}</span>
                    </td>
                    <td class="roomy" />
                    <td colSpan={3}>
                      <span class={e.plan === 'over' ? 'bad' : 'sub'}>{WORD[e.plan]}</span>
                    </td>
                    <td class="wide" />
                    <td class="wide sub when">{e.since > 0 ? stamp(e.since) : '–'}</td>
                  </tr>
                ))
              : null}
          </tbody>
        ))}
      </Listing>
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
          {count(t.used)}
          {t.limit === null ? '' : ` of ${count(t.limit)}`}
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
