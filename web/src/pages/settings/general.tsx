/** Name and keys of a bucket; its limits are next door. */
import { useState } from 'preact/hooks';
import * as api from '../../link/api';
import { bucket, loadBuckets, role } from '../../store/buckets';
import { Button, CopyButton, IconButton, Note } from '../../ui/controls';
import { hubRoot } from '../connect';
import { Limits } from './limits';
import { ReplaceSecret } from './replace-secret';

function Secret({ value }: { readonly value: string }) {
  const [shown, setShown] = useState(false);
  return (
    <div class="cmd">
      <code>{shown ? value : '•'.repeat(value.length)}</code>
      <IconButton
        icon={shown ? 'hide' : 'show'}
        label={shown ? 'Hide the secret' : 'Show the secret'}
        small
        aria-pressed={shown}
        onClick={() => setShown(!shown)}
      />
      <CopyButton text={() => value} />
    </div>
  );
}

export function General() {
  const b = bucket.value;
  const [name, setName] = useState(b?.name ?? '');
  const [comment, setComment] = useState(b?.comment ?? '');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  const [replacing, setReplacing] = useState(false);
  if (!b) return null;
  const owner = role.value === 'owner';
  const changed = name.trim() !== b.name || comment.trim() !== b.comment;
  const save = async (e: Event) => {
    e.preventDefault();
    if (name.trim() === '') return setProblem('A bucket needs a name.');
    setBusy(true);
    setProblem('');
    try {
      await api.put(`api/bucket/${b.id}`, { name: name.trim(), comment: comment.trim() });
      await loadBuckets();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : 'The change could not be saved.');
    }
    setBusy(false);
  };
  return (
    <div class="cards">
      <form class="panel card" onSubmit={save}>
        <h2>Bucket</h2>
        {problem === '' ? null : <Note kind="bad">{problem}</Note>}
        <div class="field">
          <label for="set-name">Name</label>
          <input
            id="set-name"
            class="input"
            value={name}
            maxLength={80}
            readOnly={!owner}
            onInput={(e) => setName(e.currentTarget.value)}
          />
        </div>
        <div class="field">
          <label for="set-comment">Comment</label>
          <input
            id="set-comment"
            class="input"
            value={comment}
            maxLength={200}
            readOnly={!owner}
            onInput={(e) => setComment(e.currentTarget.value)}
          />
        </div>
        {owner ? (
          <div class="row end">
            <Button type="submit" kind="primary" busy={busy} disabled={!changed}>
              Save
            </Button>
          </div>
        ) : (
          <p class="muted">Only the owner changes these.</p>
        )}
      </form>
      <section class="panel card">
        <h2>Keys</h2>
        <p class="sub">Agents link with both. The secret lets a host send data here; treat it like a password.</p>
        <div class="field">
          <span class="lbl">Public key</span>
          <div class="cmd">
            <code>{b.publicKey}</code>
            <CopyButton text={() => b.publicKey} />
          </div>
        </div>
        {b.secretKey === '' ? null : (
          <div class="field">
            <span class="lbl">Secret key</span>
            <Secret value={b.secretKey} />
          </div>
        )}
        <div class="field">
          <span class="lbl">Address of this hub</span>
          <div class="cmd">
            <code>{hubRoot(b)}</code>
            <CopyButton text={() => hubRoot(b)} />
          </div>
        </div>
        {owner ? (
          <div class="row end">
            <Button kind="danger" onClick={() => setReplacing(true)}>
              Replace the secret key
            </Button>
          </div>
        ) : null}
      </section>
      {replacing ? <ReplaceSecret onClose={() => setReplacing(false)} /> : null}
      <Limits bucket={b} />
    </div>
  );
}
