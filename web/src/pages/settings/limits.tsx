/** What a bucket takes, and when a server counts as offline. */
import { useState } from 'preact/hooks';
import { count } from '../../format/units';
import * as api from '../../link/api';
import { type Bucket, counted, loadBuckets, role } from '../../store/buckets';
import { fleet } from '../../store/live';
import { Button, Note } from '../../ui/controls';

const PLANS = ['unlimited', 'free', 'pro_4', 'pro_8', 'pro_16', 'pro_32', 'pro_256', 'pro_256_yearly', 'enterprise'];

/** A whole number of at least 1; empty is no limit; `null` is neither. */
export function limit(text: string): number | null {
  if (text.trim() === '') return 0;
  const n = Number(text);
  return Number.isInteger(n) && n > 0 ? n : null;
}

const shown = (n: number | null): string => (n === null || n === 0 ? '' : String(n));

export function Limits({ bucket: b }: { readonly bucket: Bucket }) {
  const owner = role.value === 'owner';
  const before = {
    plan: b.plan,
    processes: shown(b.maxProcesses),
    servers: shown(b.maxServers),
    after: String(b.offlineAfter),
    forget: b.deleteOffline,
  };
  const [typed, setTyped] = useState(before);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  const used = counted(fleet.value?.servers.values() ?? []);
  const linked = fleet.value?.servers.size ?? 0;
  const changed = JSON.stringify(typed) !== JSON.stringify(before);

  const save = async (e: Event) => {
    e.preventDefault();
    const processes = limit(typed.processes);
    const servers = limit(typed.servers);
    if (processes === null || servers === null) return setProblem('A limit is a whole number, or empty for none.');
    setBusy(true);
    setProblem('');
    try {
      await api.put(`api/bucket/${b.id}`, {
        plan: typed.plan,
        max_processes: processes,
        max_servers: servers,
        offline_after: Number(typed.after),
        delete_offline: typed.forget,
      });
      await loadBuckets();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : 'The change could not be saved.');
    }
    setBusy(false);
  };

  const field = (id: 'processes' | 'servers' | 'after', label: string, hint: string, none: string) => (
    <div class="field">
      <label for={`limit-${id}`}>{label}</label>
      <input
        id={`limit-${id}`}
        class="input"
        inputMode="numeric"
        value={typed[id]}
        placeholder={none}
        readOnly={!owner}
        onInput={(e) => setTyped({ ...typed, [id]: e.currentTarget.value })}
      />
      <span class="hint">{hint}</span>
    </div>
  );

  return (
    <form class="panel card" onSubmit={save}>
      <h2>Plan and limits</h2>
      {problem === '' ? null : <Note kind="bad">{problem}</Note>}
      <div class="field">
        <label for="limit-plan">Plan</label>
        <select
          id="limit-plan"
          class="input"
          value={typed.plan}
          disabled={!owner}
          onChange={(e) => setTyped({ ...typed, plan: e.currentTarget.value })}
        >
          {[...new Set([...PLANS, b.plan])].map((plan) => (
            <option key={plan} value={plan}>
              {plan}
            </option>
          ))}
        </select>
      </div>
      {field(
        'processes',
        'Monitored processes',
        `A limit of this bucket's own, before the plan's. ${count(used)} in use; beyond the limit the youngest are listed but not monitored.`,
        b.limit === null ? 'unlimited' : `${b.limit}, as the plan says`,
      )}
      {field(
        'servers',
        'Linked servers',
        `${count(linked)} linked or known. One more is told to wait until a server is deleted.`,
        'unlimited',
      )}
      {field('after', 'Offline after, in seconds', 'Silence that makes a server offline.', '120')}
      <label class="check">
        <input
          type="checkbox"
          checked={typed.forget}
          disabled={!owner}
          onChange={(e) => setTyped({ ...typed, forget: e.currentTarget.checked })}
        />
        <span>
          Delete a server when it goes offline
          <span class="hint">For hosts that come and go. Its history stays.</span>
        </span>
      </label>
      {owner ? (
        <div class="row end">
          <Button type="submit" kind="primary" busy={busy} disabled={!changed}>
            Save limits
          </Button>
        </div>
      ) : (
        <p class="muted">Your role is {role.value}; only the owner changes these.</p>
      )}
    </form>
  );
}
