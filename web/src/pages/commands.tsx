/** What can be done to an app or a process, when it cannot and why, and what is asked before it is done. */

import { lacks } from '../format/needs';
import type { Process, Server } from '../link/protocol';
import { go, to } from '../router';
import { run } from '../store/actions';
import type { App } from '../store/apps';
import { bucketId, may } from '../store/buckets';
import { stale } from '../store/live';
import { askNumber, confirm, type MenuEntry } from '../ui/overlay';

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

function labelOf({ app, process }: Target): string {
  return process ? `${app.name} #${process.pm_id}` : app.name;
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

/** An action that the app itself offers. */
export function own(target: Target, action: string): void {
  void run({
    bucket: bucketId.value,
    server: target.server.id,
    serverName: target.server.name,
    action,
    label: labelOf(target),
    app: target.app.name,
    custom: true,
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
  const because = obstacle(server);
  const on = running(target);
  const logs: MenuEntry = {
    text: 'Logs',
    icon: 'logs',
    onPick: () =>
      go(to.logs(bucketId.value, { server: server.id, app: app.name, ...(process ? { pm_id: process.pm_id } : {}) })),
  };
  if (!mayAct()) return [logs];
  const entries: MenuEntry[] = [
    {
      text: on ? 'Restart' : 'Start',
      icon: on ? 'restart' : 'start',
      disabled: because,
      onPick: () => command(target, on ? 'restart' : 'start'),
    },
    {
      text: 'Reload',
      icon: 'reload',
      disabled: because || (on ? '' : 'it does not run'),
      onPick: () => command(target, 'reload'),
    },
    {
      text: 'Stop…',
      icon: 'stop',
      disabled: because || lacks(server, 'stop') || (on ? '' : 'it does not run'),
      onPick: () => stop(target),
    },
  ];
  if (!process) {
    const cluster = app.instances.some((p) => p.exec_mode.startsWith('cluster'));
    entries.push({
      text: 'Scale…',
      icon: 'scale',
      disabled: because || (cluster ? '' : 'only apps in cluster mode'),
      onPick: () => scale(target),
    });
  }
  entries.push(
    { text: 'Reset counters', icon: 'reset', disabled: because, onPick: () => command(target, 'reset') },
    'line',
    logs,
    'line',
    {
      text: 'Delete…',
      icon: 'trash',
      danger: true,
      disabled: because || lacks(server, 'delete'),
      onPick: () => remove(target),
    },
  );
  return entries;
}
