/** Who did what to what, when, and how it ended. */
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { ago, stamp } from '../../format/time';
import * as api from '../../link/api';
import { tell } from '../../store/actions';
import { bucketId, may } from '../../store/buckets';
import { now } from '../../store/live';
import { Button, Failure, Note, Search, Skeleton } from '../../ui/controls';
import { type Entry, readPage, type TrailPage, words } from './audit-trail';
import { Listing } from './listing';

const PAGE = 100;
/** Typing rests this long before the hub is asked. */
const REST_MS = 250;

const COLUMNS = [
  { head: 'When' },
  { head: 'Who', kind: 'roomy' },
  { head: 'What' },
  { head: 'Target' },
  { head: 'Result' },
];

function Row({ entry }: { readonly entry: Entry }) {
  const ok = entry.outcome === 'ok';
  return (
    <tr>
      <td title={stamp(entry.at)}>
        {ago(entry.at, now.value)}
        <div class="muted narrow">{entry.who}</div>
      </td>
      <td class="roomy sub">{entry.who}</td>
      <td>
        <b>{words(entry.what)}</b>
      </td>
      <td class="any">{entry.target}</td>
      <td class="any">
        <span class="row told">
          <span class={`dot ${ok ? 'good' : 'failed'}`} />
          {entry.outcome}
        </span>
      </td>
    </tr>
  );
}

export function Audit() {
  const id = bucketId.value;
  const [search, setSearch] = useState('');
  const [trail, setTrail] = useState<TrailPage | null>(null);
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState<'' | 'older' | 'export'>('');
  // An answer to what is no longer asked for is thrown away.
  const asked = useRef(0);

  const query = (more: Readonly<Record<string, string>>) =>
    new URLSearchParams({ ...(search.trim() === '' ? {} : { search: search.trim() }), ...more }).toString();
  const load = useCallback(
    async (after: TrailPage | null) => {
      const turn = ++asked.current;
      try {
        const next = after?.next ?? '';
        const rest = query({ limit: String(PAGE), ...(next === '' ? {} : { before: next }) });
        const page = readPage(await api.get(`api/bucket/${id}/audit?${rest}`));
        if (turn !== asked.current) return;
        setTrail({ entries: [...(after?.entries ?? []), ...page.entries], next: page.next });
        setProblem('');
      } catch (error) {
        if (turn !== asked.current) return;
        setProblem(error instanceof Error ? error.message : 'The trail could not be read.');
      }
    },
    [id, search],
  );
  const allowed = may('admin');
  useEffect(() => {
    if (!allowed) return;
    const timer = setTimeout(() => void load(null), trail === null ? 0 : REST_MS);
    return () => clearTimeout(timer);
  }, [load, allowed]);

  if (!allowed) {
    return (
      <div class="empty">
        <h2>The trail is for admins</h2>
        <p>It names everybody who acts in this bucket. Ask its owner for the role.</p>
      </div>
    );
  }
  if (problem !== '' && !trail) return <Failure message={problem} onRetry={() => void load(null)} />;
  if (!trail) return <Skeleton rows={5} label="Loading the trail" />;

  const older = async () => {
    setBusy('older');
    await load(trail);
    setBusy('');
  };
  const take = async () => {
    setBusy('export');
    try {
      await api.download(`api/bucket/${id}/audit/export?${query({})}`, `audit-${id}.csv`);
    } catch (error) {
      tell('failed', 'The trail could not be exported', error instanceof Error ? error.message : '');
    }
    setBusy('');
  };
  const nothing = search.trim() === '' ? 'Nothing was done in this bucket yet.' : 'Nothing matches.';
  return (
    <section aria-label="Audit trail">
      <div class="boxtools">
        <Search value={search} label="Search the trail" onInput={setSearch} />
        <span class="grow" />
        <Button busy={busy === 'export'} disabled={trail.entries.length === 0} onClick={take}>
          Export CSV
        </Button>
      </div>
      {problem === '' ? null : <Note kind="bad">{problem}</Note>}
      <Listing name="audit" columns={COLUMNS} empty={trail.entries.length === 0 ? nothing : ''}>
        <tbody>
          {trail.entries.map((entry, i) => (
            <Row key={i} entry={entry} />
          ))}
        </tbody>
      </Listing>
      {trail.next === '' ? null : (
        <div class="more">
          <Button busy={busy === 'older'} onClick={older}>
            Show older
          </Button>
        </div>
      )}
    </section>
  );
}
