/** Which release of PM2 a control needs on the server that it acts on. Pure. */
import { older } from './versions';

/** First releases of PM2 whose agent takes part in something. */
const SINCE = {
  unmonitor: '2.7.0',
  'one port': '3.2.0',
  'offline alert': '3.2.2',
  'pm2 plus': '3.2.7',
  tracing: '3.4.0',
} as const;

/** What PM2's own agent takes no orders for, in whatever release: it did once, before 3.0. */
const NEVER = {
  stop: 'stop',
  delete: 'delete',
  pull: 'pull',
  backward: 'pull',
  forward: 'pull',
  install: 'modules',
  uninstall: 'modules',
} as const;

export type Need = keyof typeof SINCE | keyof typeof NEVER;

interface Agent {
  readonly agent: string;
  readonly versions: { readonly pm2: string };
}

/** Why PM2's own agent does not carry out an order; '' where it does, and for agents of ours. */
export function refusal(server: Agent, verb: string): string {
  if (server.agent !== 'pm2') return '';
  if (verb === 'monitor' || verb === 'unmonitor')
    return lacks(server, 'unmonitor') || `PM2’s own agent takes no order for this: run pm2 ${verb} on the server`;
  return isNever(verb) ? lacks(server, verb) : '';
}

/** Whether this is something that PM2's own agent never does for the hub. */
export const isNever = (verb: string): verb is keyof typeof NEVER => Object.hasOwn(NEVER, verb);

/** Why a server cannot do something; '' when it can. A release that is not known is given a try. */
export function lacks({ agent, versions }: Agent, need: Need): string {
  if (agent !== 'pm2') return '';
  if (isNever(need)) return `PM2’s own agent takes no ${NEVER[need]} from here: Pilothouse’s does`;
  const since = SINCE[need as keyof typeof SINCE];
  return older(versions.pm2, since)
    ? `needs PM2 ${since} on the server, which has ${versions.pm2}: npm install -g pm2 && pm2 update`
    : '';
}
