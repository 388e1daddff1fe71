import './login.css';
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError } from '../link/api';
import { signIn } from '../session';
import { Button, IconButton, Note } from '../ui/controls';
import { Brand } from '../ui/icons';
import { helpOpen } from '../ui/keys';

function explain(error: unknown): string {
  if (!(error instanceof ApiError)) return 'Signing in failed.';
  if (error.status === 429) return 'Too many attempts. Wait a minute, then try again.';
  if (error.status === 400 || error.status === 401 || error.status === 403) {
    return /password|credential|user|e-?mail|grant/i.test(error.message) && !/^the hub answered/i.test(error.message)
      ? `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}`
      : 'The user name or the password is wrong.';
  }
  return error.message;
}

export function Login({ expired }: { readonly expired: boolean }) {
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  const first = useRef<HTMLInputElement>(null);
  const second = useRef<HTMLInputElement>(null);

  useEffect(() => {
    document.title = 'Sign in · Pilothouse';
    first.current?.focus();
  }, []);

  const submit = async (e: Event) => {
    e.preventDefault();
    if (busy) return;
    if (name.trim() === '' || password === '') {
      setProblem(name.trim() === '' ? 'Enter your e-mail address or user name.' : 'Enter your password.');
      (name.trim() === '' ? first : second).current?.focus();
      return;
    }
    setBusy(true);
    setProblem('');
    try {
      await signIn(name.trim(), password);
    } catch (error) {
      setProblem(explain(error));
      setBusy(false);
      second.current?.focus();
      second.current?.select();
    }
  };

  return (
    <main class="login">
      <form class="card" onSubmit={submit} noValidate>
        <div class="logo">
          <Brand />
          <h1>Pilothouse</h1>
          <IconButton icon="help" label="Help" onClick={() => (helpOpen.value = true)} />
        </div>
        {expired && problem === '' ? (
          <Note kind="warn">Your session has ended. Sign in again to return to where you were.</Note>
        ) : null}
        {problem !== '' ? (
          <Note kind="bad">
            <span id="login-problem">{problem}</span>
          </Note>
        ) : null}
        <div class="field">
          <label for="login-name">E-mail or user name</label>
          <input
            id="login-name"
            ref={first}
            class="input"
            name="username"
            autocomplete="username"
            autocapitalize="none"
            spellcheck={false}
            value={name}
            aria-describedby={problem === '' ? undefined : 'login-problem'}
            onInput={(e) => setName(e.currentTarget.value)}
          />
        </div>
        <div class="field">
          <label for="login-password">Password</label>
          <input
            id="login-password"
            ref={second}
            class="input"
            name="password"
            type="password"
            autocomplete="current-password"
            value={password}
            aria-invalid={problem !== ''}
            aria-describedby={problem === '' ? undefined : 'login-problem'}
            onInput={(e) => setPassword(e.currentTarget.value)}
          />
        </div>
        <Button type="submit" kind="primary" busy={busy}>
          Sign in
        </Button>
        <p class="foot">The first start of the hub prints the owner's account. Ask your administrator for yours.</p>
      </form>
    </main>
  );
}
