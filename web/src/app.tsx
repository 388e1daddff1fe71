/** Chooses between the sign-in and the shell, and opens the bucket that the address names. */
import { effect } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { Login } from './pages/login';
import { go, parse, route, to } from './router';
import { begin, session } from './session';
import { Shell } from './shell';
import { bucketId, buckets, forgetBuckets, loadBuckets, loadRole } from './store/buckets';
import { openBucket } from './store/live';
import { Failure } from './ui/controls';
import { Brand } from './ui/icons';
import { helpOpen } from './ui/keys';
import { lazy } from './ui/lazy';
import { Overlay } from './ui/overlay';

const Invite = lazy(() => import('./pages/invite').then((m) => m.Invite));
const Help = lazy(() => import('./pages/help').then((m) => m.Help));

export function App() {
  useEffect(
    () =>
      effect(() => {
        if (session.value === 'in') {
          if (buckets.value === null) void loadBuckets();
        } else if (session.value === 'out') {
          forgetBuckets();
        }
        const known = session.value === 'in' && buckets.value?.some((b) => b.id === bucketId.value);
        openBucket(known ? bucketId.value : '');
        if (known) void loadRole(bucketId.value);
      }),
    [],
  );
  useEffect(
    () =>
      effect(() => {
        const list = buckets.value;
        // The address itself, not the route that follows it: who has just gone somewhere is not called back.
        const at = parse(location.hash);
        if (!list || route.value.page !== at.page) return;
        if (at.page === 'redirect') {
          const found = list.find((b) => b.publicKey === at.publicKey);
          go(found ? to.servers(found.id) : '#/', true);
        } else if (at.page === 'home') {
          const [only] = list;
          if (list.length === 1 && only) go(to.servers(only.id), true);
        }
      }),
    [],
  );

  const state = session.value;
  if (state === 'checking') {
    return (
      <div class="splash" role="status" aria-label="Loading">
        <Brand />
      </div>
    );
  }
  if (state === 'unreachable') {
    return (
      <div class="splash">
        <Failure
          message="The hub does not answer. Check that it runs and that this browser can reach it."
          onRetry={begin}
        />
      </div>
    );
  }
  return (
    <>
      {state === 'in' ? (
        <Shell />
      ) : route.value.page === 'invite' ? (
        <Invite code={route.value.code} />
      ) : (
        <Login expired={state === 'expired'} />
      )}
      {helpOpen.value ? <Help /> : null}
      <Overlay />
    </>
  );
}
