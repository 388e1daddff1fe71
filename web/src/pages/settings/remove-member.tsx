/** Asks before somebody loses a bucket, be it another or oneself. */
import { useState } from 'preact/hooks';
import * as api from '../../link/api';
import { go } from '../../router';
import { user } from '../../session';
import { tell } from '../../store/actions';
import { bucket, bucketId, loadBuckets } from '../../store/buckets';
import { Button, Note } from '../../ui/controls';
import { Dialog } from '../../ui/dialog';
import type { Member } from './team';

interface RemoveMemberProps {
  readonly member: Member;
  readonly onClose: () => void;
  readonly onDone: () => void;
}

export function RemoveMember({ member, onClose, onDone }: RemoveMemberProps) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  const leaves = member.email === user.value.email;
  const submit = async () => {
    setBusy(true);
    setProblem('');
    try {
      await api.post(`api/bucket/${bucketId.value}/remove_user`, { email: member.email });
    } catch (error) {
      setProblem(error instanceof Error ? error.message : 'That could not be done.');
      setBusy(false);
      return;
    }
    onClose();
    if (leaves) {
      tell('ok', `You left ${bucket.value?.name ?? 'the bucket'}`);
      // First: with the list of before, who has but this one bucket would be led back into it.
      await loadBuckets();
      go('#/');
    } else {
      tell('ok', `${member.username} is no longer a member`);
      onDone();
    }
  };
  return (
    <Dialog
      title={leaves ? 'Leave this bucket?' : `Remove ${member.username}?`}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary danger" busy={busy} onClick={submit}>
            {leaves ? 'Leave' : 'Remove'}
          </Button>
        </>
      }
    >
      {problem === '' ? null : <Note kind="bad">{problem}</Note>}
      <p class="sub">
        {leaves
          ? 'You will see nothing of it any more, until somebody invites you again.'
          : `${member.email} will see nothing of this bucket any more, from this moment on. Who knows the secret key can still link a host: replace it under General if that matters.`}
      </p>
    </Dialog>
  );
}
