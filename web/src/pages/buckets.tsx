/** The buckets of the account as tiles, and the form for the first one. */
import './buckets.css';
import { useState } from 'preact/hooks';
import { go, to } from '../router';
import { buckets, createBucket } from '../store/buckets';
import { Button, Note } from '../ui/controls';
import { Icon } from '../ui/icons';

function Create({ onDone }: { readonly onDone?: () => void }) {
  const [name, setName] = useState('');
  const [comment, setComment] = useState('');
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const submit = async (e: Event) => {
    e.preventDefault();
    if (name.trim() === '') return setProblem('Give the bucket a name.');
    setBusy(true);
    setProblem('');
    try {
      const made = await createBucket(name.trim(), comment.trim());
      onDone?.();
      go(to.servers(made.id));
    } catch (error) {
      setProblem(error instanceof Error ? error.message : 'The bucket could not be made.');
      setBusy(false);
    }
  };
  return (
    <form class="panel create" onSubmit={submit}>
      <h2>Create a bucket</h2>
      <p class="sub">A bucket is a group of servers: a project, a customer, an environment.</p>
      {problem === '' ? null : <Note kind="bad">{problem}</Note>}
      <div class="field">
        <label for="bucket-name">Name</label>
        <input
          id="bucket-name"
          class="input"
          value={name}
          maxLength={80}
          onInput={(e) => setName(e.currentTarget.value)}
        />
      </div>
      <div class="field">
        <label for="bucket-comment">Comment</label>
        <input
          id="bucket-comment"
          class="input"
          value={comment}
          maxLength={200}
          onInput={(e) => setComment(e.currentTarget.value)}
        />
      </div>
      <Button type="submit" kind="primary" busy={busy}>
        Create bucket
      </Button>
    </form>
  );
}

export function Buckets() {
  const [creating, setCreating] = useState(false);
  const list = buckets.value ?? [];
  return (
    <div class="scroll">
      <div class="tiles">
        {list.map((b) => (
          <a key={b.id} class="panel tile" href={to.servers(b.id)}>
            <b class="cut">{b.name}</b>
            <span class="sub cut">{b.comment || 'No comment'}</span>
            <span class="badge">{b.plan}</span>
          </a>
        ))}
        {list.length === 0 || creating ? (
          <Create />
        ) : (
          <button type="button" class="panel tile new" onClick={() => setCreating(true)}>
            <Icon name="plus" />
            <span>Create a bucket</span>
          </button>
        )}
      </div>
    </div>
  );
}
