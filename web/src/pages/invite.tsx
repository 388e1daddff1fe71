/** Where the link of an invitation leads: an account for somebody who was asked into a bucket. */
import './login.css';
import { useEffect, useRef, useState } from 'preact/hooks';
import * as api from '../link/api';
import { go } from '../router';
import { signIn } from '../session';
import { Button, Note, Skeleton } from '../ui/controls';
import { Brand } from '../ui/icons';

interface Invitation {
  readonly email: string;
  readonly bucket: string;
}

const LEAST = 8;

function saying(error: unknown): string {
  const text = error instanceof Error ? error.message : 'It did not work.';
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}

export function Invite({ code }: { readonly code: string }) {
  const [invitation, setInvitation] = useState<Invitation | null>(null);
  const [problem, setProblem] = useState('');
  useEffect(() => {
    document.title = 'Invitation · Pilothouse';
    const read = async () => {
      try {
        const answer = (await api.get(`api/auth/invitation/${encodeURIComponent(code)}`)) as Partial<Invitation> | null;
        setInvitation({ email: String(answer?.email ?? ''), bucket: String(answer?.bucket ?? '') });
      } catch (error) {
        const unknown = error instanceof api.ApiError && error.status === 404;
        setProblem(unknown ? 'This invitation was used already, or withdrawn. Ask for a new one.' : saying(error));
      }
    };
    void read();
  }, [code]);
  return (
    <main class="login">
      <div class="card">
        <div class="logo">
          <Brand />
          <h1>Pilothouse</h1>
        </div>
        {problem !== '' ? (
          <>
            <Note kind="bad">{problem}</Note>
            <a class="btn" href="#/">
              Sign in
            </a>
          </>
        ) : invitation ? (
          <Account code={code} invitation={invitation} />
        ) : (
          <Skeleton rows={3} label="Loading the invitation" />
        )}
      </div>
    </main>
  );
}

function Account({ code, invitation }: { readonly code: string; readonly invitation: Invitation }) {
  const { email, bucket } = invitation;
  const [name, setName] = useState(email.split('@')[0] ?? '');
  const [password, setPassword] = useState('');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => first.current?.focus(), []);

  const submit = async (e: Event) => {
    e.preventDefault();
    if (busy) return;
    if (name.trim() === '') return setProblem('Choose a user name.');
    if ([...password].length < LEAST) return setProblem(`A password has at least ${LEAST} characters.`);
    setBusy(true);
    setProblem('');
    try {
      await api.post('api/oauth/register', { username: name.trim(), email, password, invitation: code });
      go('#/', true);
      await signIn(email, password);
    } catch (error) {
      setProblem(saying(error));
      setBusy(false);
    }
  };

  return (
    <form class="stack" onSubmit={submit} noValidate>
      <p>
        You are asked into <b>{bucket}</b>. Make an account for <b>{email}</b>.
      </p>
      {problem === '' ? null : <Note kind="bad">{problem}</Note>}
      <div class="field">
        <label for="invite-name">User name</label>
        <input
          id="invite-name"
          ref={first}
          class="input"
          autocomplete="username"
          autocapitalize="none"
          spellcheck={false}
          maxLength={64}
          value={name}
          onInput={(e) => setName(e.currentTarget.value)}
        />
      </div>
      <div class="field">
        <label for="invite-password">Password</label>
        <input
          id="invite-password"
          class="input"
          type="password"
          autocomplete="new-password"
          value={password}
          onInput={(e) => setPassword(e.currentTarget.value)}
        />
        <span class="hint">At least {LEAST} characters.</span>
      </div>
      <Button type="submit" kind="primary" busy={busy}>
        Make the account
      </Button>
    </form>
  );
}
