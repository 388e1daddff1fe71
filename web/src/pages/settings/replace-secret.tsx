/** Asks before the secret key of a bucket is replaced, and says what follows: every host has to be linked again. */
import { useState } from 'preact/hooks';
import * as api from '../../link/api';
import { tell } from '../../store/actions';
import { bucketId, loadBuckets } from '../../store/buckets';
import { Button, Note } from '../../ui/controls';
import { Dialog } from '../../ui/dialog';

export function ReplaceSecret({ onClose }: { readonly onClose: () => void }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  const submit = async () => {
    setBusy(true);
    setProblem('');
    try {
      await api.post(`api/bucket/${bucketId.value}/secret`, {});
      await loadBuckets();
      tell('ok', 'The secret key is replaced');
      onClose();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : 'The key could not be replaced.');
      setBusy(false);
    }
  };
  return (
    <Dialog
      title="Replace the secret key?"
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary danger" busy={busy} onClick={submit}>
            Replace
          </Button>
        </>
      }
    >
      {problem === '' ? null : <Note kind="bad">{problem}</Note>}
      <Note kind="warn">
        Every server is cut off at once, until somebody runs <code>pilothouse link</code> on it with the new key. It is
        then the same server, with its history. Apps go on running.
      </Note>
    </Dialog>
  );
}
