/** Forgetting servers: what happens to their history, and what to do about one whose agent still runs. */
import './settings.css';
import { useState } from 'preact/hooks';
import * as api from '../../link/api';
import type { ServerFacts } from '../../link/protocol';
import { tell } from '../../store/actions';
import { bucketId } from '../../store/buckets';
import { Button, Note } from '../../ui/controls';
import { Dialog } from '../../ui/dialog';

type Doomed = Pick<ServerFacts, 'id' | 'name' | 'online'>;

interface DeleteServersProps {
  readonly servers: readonly Doomed[];
  readonly onClose: () => void;
  readonly onDone?: () => void;
}

export function DeleteServers({ servers, onClose, onDone }: DeleteServersProps) {
  const [purge, setPurge] = useState(false);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  /** Looked offline, but the hub says that their agents are linked. */
  const [linked, setLinked] = useState<ReadonlySet<string>>(new Set());
  const live = servers.filter((s) => s.online || linked.has(s.id));
  const [one] = servers;
  const what = servers.length === 1 && one ? one.name : `${servers.length} servers`;

  const submit = async () => {
    setBusy(true);
    setProblem('');
    const failed: string[] = [];
    for (const s of servers) {
      try {
        await api.del(`api/bucket/${bucketId.value}/servers/${encodeURIComponent(s.id)}`, {
          mode: live.includes(s) ? 'hide' : 'delete',
          purge,
        });
      } catch (error) {
        if (error instanceof api.ApiError && error.status === 409) setLinked((ids) => new Set([...ids, s.id]));
        failed.push(`${s.name}: ${error instanceof Error ? error.message : 'failed'}`);
      }
    }
    if (failed.length > 0) {
      setProblem(failed.join('. '));
      setBusy(false);
      onDone?.();
      return;
    }
    tell('ok', live.length === servers.length ? `${what} hidden until linked again` : `${what} deleted`);
    onDone?.();
    onClose();
  };

  return (
    <Dialog
      title={live.length > 0 && live.length === servers.length ? `Hide ${what}?` : `Delete ${what}?`}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary danger" busy={busy} onClick={submit}>
            {live.length === 0 ? 'Delete' : live.length === servers.length ? 'Hide until re-linked' : 'Delete and hide'}
          </Button>
        </>
      }
    >
      {problem === '' ? null : <Note kind="bad">{problem}</Note>}
      {live.length > 0 ? (
        <Note kind="warn">
          {live.length === 1
            ? `The agent of ${live[0]?.name} still runs`
            : `The agents of ${live.length} of them still run`}
          . A server like this is hidden, and its agent refused, until somebody runs <code>pilothouse link</code> on it
          again. Its apps go on running.
        </Note>
      ) : (
        <p class="sub">Its processes no longer count. Linking it again with the same keys and name brings it back.</p>
      )}
      <label class="check">
        <input type="checkbox" checked={purge} onChange={(e) => setPurge(e.currentTarget.checked)} />
        <span>
          Erase its history too
          <span class="hint">Metrics and events of the past. This cannot be undone.</span>
        </span>
      </label>
    </Dialog>
  );
}
