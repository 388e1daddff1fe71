/** Rail, header and the place for pages. */
import { computed, signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import { Buckets } from './pages/buckets';
import { ConnectDrawer, connectOpen } from './pages/connect';
import { plan } from './pages/run-plan';
import { go, type Route, route, to } from './router';
import { signOut, user } from './session';
import { bucket, bucketId, buckets, bucketsError, counted, loadBuckets } from './store/buckets';
import { fleet, link, linkState, now, renewBucket, retryAt, stale, watchError } from './store/live';
import { choice, choose, theme } from './theme';
import { Button, Failure, IconButton, Skeleton } from './ui/controls';
import { Brand, Icon, type IconName } from './ui/icons';
import { helpOpen, listenKeys } from './ui/keys';
import { fetchAll, lazy } from './ui/lazy';
import { type MenuEntry, openMenu } from './ui/overlay';

const Overview = lazy(() => import('./pages/overview/overview').then((m) => m.Overview));
const AppPage = lazy(() => import('./pages/app/app-page').then((m) => m.AppPage));
const LogsPage = lazy(() => import('./pages/logs/logs-page').then((m) => m.LogsPage));
const SettingsPage = lazy(() => import('./pages/settings/settings-page').then((m) => m.SettingsPage));
const RunDialog = lazy(() => import('./pages/run-dialog').then((m) => m.RunDialog));

const RAIL_KEY = 'pilothouse.rail';

function storedRail(): boolean {
  try {
    return localStorage.getItem(RAIL_KEY) === 'wide';
  } catch {
    return false;
  }
}

const wide = signal(storedRail());
/** The app that the app group of the rail is about: the one on the page, else the last one. */
const lastApp = signal('');

const appNow = computed(() => {
  const at = route.value;
  if (at.page === 'app') return at.app;
  if (at.page === 'logs') return at.query.get('app') ?? lastApp.value;
  return lastApp.value;
});

/** Processes in the bucket, and how many its plan allows. */
const usage = computed(() => {
  return { used: counted(fleet.value?.servers.values() ?? []), allowed: bucket.value?.limit ?? null };
});

function toggleRail(): void {
  wide.value = !wide.value;
  try {
    localStorage.setItem(RAIL_KEY, wide.value ? 'wide' : 'narrow');
  } catch {
    // Not remembered, then.
  }
}

export function toggleTheme(): void {
  choose(theme.value === 'dark' ? 'light' : 'dark');
}

interface RailLinkProps {
  readonly icon: IconName;
  readonly text: string;
  readonly href: string;
  readonly current: boolean;
}

function RailLink({ icon, text, href, current }: RailLinkProps) {
  if (href === '') {
    return (
      <span class="off" title={`${text}: choose an app first`}>
        <Icon name={icon} />
        <span class="lbl">{text}</span>
      </span>
    );
  }
  return (
    <a href={href} title={text} aria-current={current ? 'page' : undefined}>
      <Icon name={icon} />
      <span class="lbl">{text}</span>
    </a>
  );
}

function Rail() {
  const id = bucketId.value;
  const at = route.value;
  const app = appNow.value;
  const appLogs = at.page === 'logs' && at.query.has('app');
  return (
    <nav class="rail" aria-label="Main">
      <button
        type="button"
        class="brand"
        onClick={toggleRail}
        aria-expanded={wide.value}
        aria-label="Pilothouse: names of the pages"
      >
        <Brand />
        <span class="lbl">Pilothouse</span>
      </button>
      {id === '' ? null : (
        <>
          <RailLink icon="server" text="Servers" href={to.servers(id)} current={at.page === 'servers'} />
          <RailLink icon="logs" text="Logs" href={to.logs(id)} current={at.page === 'logs' && !appLogs} />
          <RailLink icon="settings" text="Settings" href={to.settings(id)} current={at.page === 'settings'} />
          <div class="cap cut">{wide.value ? app || 'App' : ''}</div>
          <RailLink icon="gauge" text="App" href={app === '' ? '' : to.app(id, app)} current={at.page === 'app'} />
          <span class="grow" />
        </>
      )}
      {id === '' ? <span class="grow" /> : null}
      <button type="button" class="railbtn help" title="Help" onClick={() => (helpOpen.value = true)}>
        <Icon name="help" />
        <span class="lbl">Help</span>
      </button>
      <button type="button" class="railbtn" title={wide.value ? 'Narrow' : 'Show names'} onClick={toggleRail}>
        <Icon name="panel" />
        <span class="lbl">Narrow</span>
      </button>
    </nav>
  );
}

const TITLES: Readonly<Record<Route['page'], { readonly icon: IconName; readonly text: string }>> = {
  home: { icon: 'app', text: 'Buckets' },
  redirect: { icon: 'app', text: 'Buckets' },
  invite: { icon: 'user', text: 'Invitation' },
  servers: { icon: 'server', text: 'Servers' },
  logs: { icon: 'logs', text: 'Logs' },
  settings: { icon: 'settings', text: 'Settings' },
  app: { icon: 'gauge', text: 'App' },
  unknown: { icon: 'alert', text: 'Not found' },
};

function bucketMenu(): MenuEntry[] {
  const list: MenuEntry[] = (buckets.value ?? []).map((b) => ({
    text: b.name,
    checked: b.id === bucketId.value,
    onPick: () => go(to.servers(b.id)),
  }));
  return [{ caption: 'Buckets' }, ...list, 'line', { text: 'All buckets', icon: 'app', onPick: () => go('#/') }];
}

function userMenu(): MenuEntry[] {
  const themes = (
    [
      ['auto', 'Theme of the system', 'system'],
      ['dark', 'Dark', 'dark'],
      ['light', 'Light', 'light'],
    ] as const
  ).map(([value, text, icon]) => ({ text, icon, checked: choice.value === value, onPick: () => choose(value) }));
  return [
    { caption: user.value.email || user.value.username || 'Signed in' },
    ...themes,
    'line',
    { text: 'Help and keys', icon: 'help', tail: '?', onPick: () => (helpOpen.value = true) },
    { text: 'Sign out', icon: 'signout', onPick: () => void signOut() },
  ];
}

function Top() {
  const at = route.value;
  const b = bucket.value;
  const title = TITLES[at.page];
  const ofApp = at.page === 'app' || (at.page === 'logs' && at.query.has('app'));
  const name =
    at.page === 'app'
      ? at.app
      : at.page === 'logs' && at.query.get('app')
        ? `${at.query.get('app')} · Logs`
        : title.text;
  useEffect(() => {
    document.title = b ? `${name} · ${b.name} · Pilothouse` : `${name} · Pilothouse`;
  }, [name, b?.name]);
  const { used, allowed } = usage.value;
  const over = allowed !== null && used > allowed;
  return (
    <header class="top">
      <div class={ofApp ? 'crumbs app' : 'crumbs'}>
        {b ? (
          <>
            <button
              type="button"
              class="pick"
              aria-haspopup="menu"
              aria-label={`Bucket ${b.name}`}
              onClick={(e) => openMenu(e.currentTarget, 'Buckets', bucketMenu())}
            >
              <span class="cut">{b.name}</span>
              <Icon name="down" />
            </button>
            <span class="sep muted" aria-hidden="true">
              /
            </span>
          </>
        ) : null}
        <h1>
          <Icon name={title.icon} />
          <span class="cut">{name}</span>
        </h1>
      </div>
      {b && fleet.value ? (
        <div
          class="use"
          title={over ? 'More processes than the plan monitors' : 'Processes used and allowed by the plan'}
        >
          <span>
            <b class={over ? 'bad' : ''} data-test="usage">
              {used}
            </b>{' '}
            / {allowed ?? 'unlimited'} proc.
          </span>
          {allowed === null ? null : <span class="badge">{b.plan}</span>}
        </div>
      ) : null}
      <IconButton
        icon={theme.value === 'dark' ? 'light' : 'dark'}
        label={theme.value === 'dark' ? 'Light theme' : 'Dark theme'}
        onClick={toggleTheme}
      />
      <IconButton
        icon="user"
        label="Account"
        aria-haspopup="menu"
        onClick={(e) => openMenu(e.currentTarget, 'Account', userMenu())}
      />
      {b ? (
        <Button
          kind="primary connect"
          icon="plus"
          aria-label="Connect a server"
          onClick={() => (connectOpen.value = true)}
        >
          Connect
        </Button>
      ) : null}
    </header>
  );
}

function LinkBar() {
  if (watchError.value && fleet.value) {
    return (
      <div class="linkbar" role="alert">
        <Icon name="alert" />
        <span>Live data stopped: {watchError.value.message}</span>
        <button type="button" class="btn link" onClick={renewBucket}>
          Try again
        </button>
      </div>
    );
  }
  if (linkState.value !== 'lost') return null;
  const wait = Math.max(0, Math.ceil((retryAt.value - Date.now()) / 1000));
  void now.value;
  return (
    <div class="linkbar" role="status">
      <Icon name="wait" spin />
      <span>{stale.value ? 'Live data paused, reconnecting…' : 'The hub does not answer, reconnecting…'}</span>
      {wait > 1 ? (
        <button type="button" class="btn link" onClick={() => link.retryNow()}>
          Try now
        </button>
      ) : null}
    </div>
  );
}

function Page(): ComponentChildren {
  const at = route.value;
  if (bucketsError.value !== '' && buckets.value === null)
    return <Failure message={bucketsError.value} onRetry={loadBuckets} />;
  if (buckets.value === null) return <Skeleton rows={8} label="Loading" />;
  if (at.page === 'home' || at.page === 'redirect') return <Buckets />;
  if (at.page === 'invite') {
    return (
      <div class="empty">
        <Icon name="user" />
        <h2>You are signed in already</h2>
        <p>An invitation makes an account for somebody who has none. Sign out, and open its link again.</p>
        <Button icon="signout" onClick={() => void signOut()}>
          Sign out
        </Button>
      </div>
    );
  }
  if (at.page === 'unknown' || bucket.value === null) {
    return (
      <div class="empty">
        <Icon name="alert" />
        <h2>{at.page === 'unknown' ? 'There is no such page' : 'No such bucket'}</h2>
        <p>
          {at.page === 'unknown'
            ? 'The address may be mistyped.'
            : 'It does not exist, or you are not one of its members.'}
        </p>
        <a class="btn" href="#/">
          All buckets
        </a>
      </div>
    );
  }
  switch (at.page) {
    case 'servers':
      return <Overview key={at.bucket} />;
    case 'logs':
      return <LogsPage key={at.bucket} query={at.query} />;
    case 'settings':
      return <SettingsPage key={at.bucket} tab={at.tab} />;
    case 'app':
      return <AppPage key={`${at.bucket}/${at.app}`} app={at.app} query={at.query} />;
  }
}

export function Shell() {
  useEffect(
    () =>
      listenKeys({
        go: (where) => {
          if (bucketId.value !== '') go(to[where](bucketId.value));
        },
        connect: () => {
          if (bucket.value) connectOpen.value = true;
        },
        toggleTheme,
      }),
    [],
  );
  useEffect(fetchAll, []);
  useEffect(() => {
    if (route.value.page === 'app') lastApp.value = route.value.app;
  }, [route.value]);
  return (
    <div class="shell" data-wide={wide.value ? 'yes' : 'no'}>
      <button type="button" class="btn skip" onClick={() => document.getElementById('main')?.focus()}>
        Skip to the page
      </button>
      <Rail />
      <Top />
      <main id="main" class="main" tabIndex={-1}>
        <LinkBar />
        <Page />
      </main>
      {connectOpen.value && bucket.value ? <ConnectDrawer bucket={bucket.value} /> : null}
      {plan.value ? <RunDialog /> : null}
    </div>
  );
}
