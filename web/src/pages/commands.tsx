/** What can be done to an app or a process, when it cannot and why, and what is asked before it is done. */

import { refusal } from '../format/needs';
import type { AppAction, Process, Server } from '../link/protocol';
import { go, to } from '../router';
import { run } from '../store/actions';
import type { App } from '../store/apps';
import { bucketId, may } from '../store/buckets';
import { stale } from '../store/live';
import type { Order } from '../store/runs';
import { askNumber, confirm, type MenuEntry } from '../ui/overlay';
import { moduleProblem } from './module-name';
import { plan } from './run-plan';

export interface Target {
  readonly server: Server;
  readonly app: App;
  readonly process?: Process;
}

/** Roles below developer have no controls at all. */
export const mayAct = (): boolean => may('developer');

/** Why no command can be given to a server now; '' when it can. */
export function obstacle(server: Server): string {
  if (stale.value) return 'live data is paused';
  if (!server.online) return 'the server is offline';
  if (server.reverse_disabled) return 'commands are disabled on this host';
  if (!server.reverse) return 'Reverse connection not established';
  return '';
}

/** Why this one thing cannot be asked of a server; '' when it can. */
export function hindrance(server: Server, verb: string): string {
  const because = obstacle(server) || refusal(server, verb);
  if (because !== '' || server.allowed === null || server.allowed.includes(verb)) return because;
  return `the host does not allow it: add "${verb}" to "allow" in its policy.toml`;
}

function labelOf({ app, process }: Target): string {
  return process ? `${app.name} #${process.pm_id}` : app.name;
}

/** Why nothing can be asked of this app or process; '' when something can: the hub passes on no command to what it does not monitor. */
export function barrier({ server, app, process }: Target): string {
  const held = process ? process.over_plan : app.shown === 0;
  return obstacle(server) || (held ? 'not monitored: plan limit' : '');
}

/** Why this one thing cannot be asked of an app or a process; '' when it can. */
export function objection(target: Target, verb: string): string {
  return barrier(target) || hindrance(target.server, verb);
}

export function command(target: Target, action: string, params?: Readonly<Record<string, unknown>>): void {
  void run({
    bucket: bucketId.value,
    server: target.server.id,
    serverName: target.server.name,
    action,
    label: labelOf(target),
    ...(target.process ? { process: target.process.key } : { app: target.app.name }),
    ...(params ? { params } : {}),
  });
}

const whole = (target: Target, action: string): Order => ({
  key: `${target.server.id}/${target.app.name}`,
  label: `${target.server.name} / ${labelOf(target)}`,
  server: target.server.id,
  action,
  ...(target.process ? { process: target.process.key } : { app: target.app.name }),
});

/** A parameter as it was typed: JSON if it is some, else the text itself. */
export function paramOf(text: string): unknown {
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** An action that the app itself offers, in each of its processes or in one. */
export function own(target: Target, action: AppAction): void {
  const instances = (target.process ? [target.process] : target.app.instances).filter(
    (p) => !p.over_plan && p.actions.some((a) => a.name === action.name),
  );
  const orders = (text: string): Order[] =>
    instances.map((p) => ({
      key: `${target.server.id}/${p.key}`,
      label: `${target.server.name} / ${p.pm_id}`,
      server: target.server.id,
      action: action.name,
      process: p.key,
      params: paramOf(text),
      custom: true,
    }));
  plan.value = {
    title: `${action.name} · ${target.app.name}`,
    yes: 'Run',
    orders,
    ...(instances.length > 1 && action.param
      ? { choice: { one: 'In', all: `All ${instances.length} processes` } }
      : {}),
    ...(action.param
      ? {
          field: {
            label: 'Parameter',
            hint: 'JSON, or plain text. Left empty, the action gets none.',
            long: true,
            check: () => '',
          },
        }
      : {}),
  };
}

const ACROSS = {
  restart: { title: 'Restart', body: 'is stopped and started again, all at once' },
  reload: { title: 'Reload', body: 'is replaced, instance by instance where it runs in cluster mode' },
  pull: { title: 'Pull', body: 'is brought to the newest commit of its remote, and reloaded' },
} as const;

/** One thing for an app on all servers that take it; the others are named. */
export function across(targets: readonly Target[], verb: keyof typeof ACROSS): void {
  const { title, body } = ACROSS[verb];
  const name = targets[0]?.app.name ?? '';
  const able = targets.filter((t) => hindrance(t.server, verb) === '');
  const others = targets.filter((t) => !able.includes(t));
  plan.value = {
    title: `${title} · ${name} on ${able.length} servers`,
    body: (
      <>
        <p>
          <b>{name}</b> {body}.
        </p>
        {others.length === 0 ? null : (
          <p class="sub">
            Left out: {others.map((t) => `${t.server.name} (${hindrance(t.server, verb)})`).join('; ')}.
          </p>
        )}
      </>
    ),
    choice: { one: 'On', all: 'All of them' },
    yes: title,
    orders: () => able.map((t) => whole({ server: t.server, app: t.app }, verb)),
  };
}

const GIT = {
  pull: { title: 'Pull', what: 'is brought to the newest commit of its remote', yes: 'Pull' },
  backward: { title: 'One commit back', what: 'goes one commit back', yes: 'Go back' },
  forward: { title: 'One commit on', what: 'goes one commit on, towards its remote', yes: 'Go on' },
} as const;

/** Another revision of an app's sources. */
export function revise(target: Target, verb: keyof typeof GIT): void {
  const { title, what, yes } = GIT[verb];
  const git = target.app.instances.find((p) => p.versioning)?.versioning;
  const at = git ? [git.branch, git.revision.slice(0, 10)].filter(Boolean).join(' · ') : '';
  plan.value = {
    title: `${title} · ${target.app.name}`,
    body: (
      <>
        <p>
          The repository of <b>{target.app.name}</b> on <b>{target.server.name}</b> {what}
          {at ? (
            <>
              {' '}
              (now at <code>{at}</code>)
            </>
          ) : null}
          . Then its <code>post_update</code> commands run, and it is reloaded. If one of them fails, it runs on with
          the former code.
        </p>
        {git?.unstaged ? (
          <p class="bad">It has changes that are not committed. They would be lost, so the host will refuse.</p>
        ) : null}
      </>
    ),
    yes,
    orders: () => [whole({ server: target.server, app: target.app }, verb)],
  };
}

export function installModule(server: Server): void {
  plan.value = {
    title: `Install a module · ${server.name}`,
    body: (
      <p>
        It is fetched by npm on <b>{server.name}</b> and runs beside the apps, as the user of the process manager there.
      </p>
    ),
    field: {
      label: 'Module',
      placeholder: 'pm2-logrotate',
      hint: 'A package of the registry (name, @scope/name, name@version), owner/repository, or an https:// address.',
      check: moduleProblem,
    },
    yes: 'Install',
    orders: (text) => [
      {
        key: `${server.id}/install`,
        label: `${server.name} / ${text.trim()}`,
        server: server.id,
        action: 'install',
        params: { name: text.trim() },
      },
    ],
  };
}

function uninstallModule({ server, app }: Target): void {
  // A module of several apps gives each its own name behind its own.
  const name = app.name.split(':')[0] ?? app.name;
  plan.value = {
    title: `Uninstall ${name}`,
    body: (
      <p>
        The module will be stopped and removed from <b>{server.name}</b>, with its settings.
      </p>
    ),
    yes: 'Uninstall',
    danger: true,
    orders: () => [
      {
        key: `${server.id}/uninstall`,
        label: `${server.name} / ${name}`,
        server: server.id,
        action: 'uninstall',
        params: { name },
      },
    ],
  };
}

export function serverMenuOf(server: Server): MenuEntry[] {
  return [
    {
      text: 'Logs',
      icon: 'logs',
      onPick: () => go(to.logs(bucketId.value, { server: server.id })),
    },
    {
      text: 'Install a module…',
      icon: 'plus',
      disabled: hindrance(server, 'install'),
      onPick: () => installModule(server),
    },
    {
      text: 'Monitor an app again…',
      icon: 'show',
      disabled: hindrance(server, 'monitor'),
      onPick: () => monitor(server),
    },
  ];
}

/** What is hidden is not known here: its name has to be. */
function monitor(server: Server): void {
  plan.value = {
    title: `Monitor an app again · ${server.name}`,
    body: (
      <p>
        Every hidden process of that name on <b>{server.name}</b> will be shown here again, with its figures, events and
        logs.
      </p>
    ),
    field: {
      label: 'App',
      hint: 'Its name, as the list on the server has it.',
      check: (text) => (text.trim() === '' ? 'Which app?' : ''),
    },
    yes: 'Monitor',
    orders: (text) => [
      {
        key: `${server.id}/monitor`,
        label: `${server.name} / ${text.trim()}`,
        server: server.id,
        action: 'monitor',
        app: text.trim(),
      },
    ],
  };
}

function unmonitor(target: Target): void {
  const { app, server, process } = target;
  const many = process ? 1 : app.instances.length;
  confirm({
    title: `Unmonitor ${labelOf(target)}?`,
    body: (
      <p>
        {many > 1 ? `All ${many} instances run` : 'It runs'} on, and nothing of {many > 1 ? 'them' : 'it'} will leave{' '}
        <b>{server.name}</b>: no figures, no events, no logs. To see {many > 1 ? 'them' : 'it'} here again, run{' '}
        <code>pilothouse monitor {process ? process.pm_id : app.name}</code> there.
      </p>
    ),
    yes: 'Unmonitor',
    onYes: () => command(target, 'unmonitor'),
  });
}

export function stop(target: Target): void {
  const many = target.process ? 1 : target.app.instances.length;
  confirm({
    title: `Stop ${labelOf(target)}?`,
    body: (
      <p>
        {many > 1 ? `All ${many} instances` : 'It'} on <b>{target.server.name}</b> will be stopped and stay so until
        started again.
      </p>
    ),
    yes: 'Stop',
    danger: true,
    onYes: () => command(target, 'stop'),
  });
}

export function remove(target: Target): void {
  confirm({
    title: `Delete ${labelOf(target)}?`,
    body: (
      <p>
        It will be stopped and taken out of the process list of <b>{target.server.name}</b>. It can only be started
        again from the server.
      </p>
    ),
    yes: 'Delete',
    danger: true,
    onYes: () => command(target, 'delete'),
  });
}

export function scale(target: Target): void {
  const have = target.app.instances.length;
  askNumber({
    title: `Scale ${target.app.name}`,
    label: `Instances on ${target.server.name}`,
    value: have,
    yes: 'Scale',
    danger: (n) => n < have,
    say: (n) =>
      n === have
        ? `${have} now`
        : n > have
          ? `${n - have} more will be started`
          : `${have - n} of ${have} will be stopped and deleted`,
    onYes: (n) => command(target, 'scale', { number: n }),
  });
}

export function running(target: Target): boolean {
  return target.process
    ? target.process.status !== 'stopped' && target.process.status !== 'errored'
    : target.app.instances.some((p) => p.status !== 'stopped' && p.status !== 'errored');
}

export function menuOf(target: Target): MenuEntry[] {
  const { app, server, process } = target;
  const on = running(target);
  const because = (verb: string, also = '') => objection(target, verb) || also;
  const still = on ? '' : 'it does not run';
  const logs: MenuEntry = {
    text: 'Logs',
    icon: 'logs',
    onPick: () =>
      go(to.logs(bucketId.value, { server: server.id, app: app.name, ...(process ? { pm_id: process.pm_id } : {}) })),
  };
  if (!mayAct()) return [logs];
  const first = on ? 'restart' : 'start';
  const entries: MenuEntry[] = [
    {
      text: on ? 'Restart' : 'Start',
      icon: first,
      disabled: because(first),
      onPick: () => command(target, first),
    },
    { text: 'Reload', icon: 'reload', disabled: because('reload', still), onPick: () => command(target, 'reload') },
    { text: 'Stop…', icon: 'stop', disabled: because('stop', still), onPick: () => stop(target) },
  ];
  if (!process) {
    const cluster = app.instances.some((p) => p.exec_mode.startsWith('cluster'));
    entries.push({
      text: 'Scale…',
      icon: 'scale',
      disabled: because('scale', cluster ? '' : 'only apps in cluster mode'),
      onPick: () => scale(target),
    });
  }
  entries.push(
    { text: 'Reset counters', icon: 'reset', disabled: because('reset'), onPick: () => command(target, 'reset') },
    'line',
    logs,
  );
  const module = app.instances.some((p) => p.module);
  if (!process && !module) {
    const known = app.instances.some((p) => p.versioning);
    const none = known ? '' : 'no Git repository of it is known (PM2_ENABLE_GIT_PARSING)';
    const item = (text: string, verb: keyof typeof GIT): MenuEntry => ({
      text,
      icon: 'branch',
      disabled: because(verb, none),
      onPick: () => revise(target, verb),
    });
    entries.push('line', item('Pull…', 'pull'));
    // What is refused is said once, for the pull.
    if (known && because('backward') === '') entries.push(item('One commit back…', 'backward'));
    if (known && because('forward') === '') entries.push(item('One commit on…', 'forward'));
  }
  entries.push('line', {
    text: 'Unmonitor…',
    icon: 'hide',
    disabled: because('unmonitor'),
    onPick: () => unmonitor(target),
  });
  if (!process && module) {
    entries.push({
      text: 'Uninstall…',
      icon: 'trash',
      danger: true,
      disabled: because('uninstall'),
      onPick: () => uninstallModule(target),
    });
  }
  entries.push({
    text: 'Delete…',
    icon: 'trash',
    danger: true,
    disabled: because('delete'),
    onPick: () => remove(target),
  });
  return entries;
}
