// A cluster app under a manager, and who answers for it.
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import type { Manager } from './manager.ts';
import { freePort } from './port.ts';
import { apps } from './under-test.ts';
import { until } from './until.ts';

export interface Answer {
  pid: number;
  id: number;
  worker: boolean;
}

/** Starts the app with this configuration, and gives back its port. */
export async function startCluster(
  pm: Manager,
  config: Record<string, unknown>,
  env: Record<string, unknown> = {},
): Promise<number> {
  const port = await freePort();
  const file = path.join(pm.dir, 'eco.json');
  const app = { name: 'web', script: path.join(apps, 'cluster.js'), exec_mode: 'cluster', instances: 2 };
  writeFileSync(file, JSON.stringify({ apps: [{ ...app, env: { PORT: port, ...env }, ...config }] }));
  await pm.ok('start', file);
  return port;
}

/** One request on a connection of its own. */
export function ask(target: number | string, url = '/'): Promise<Answer> {
  const where = typeof target === 'string' ? { socketPath: target } : { host: '127.0.0.1', port: target };
  return new Promise((resolve, reject) => {
    const request = http.get({ ...where, path: url, agent: false, timeout: 8000 }, (reply) => {
      let text = '';
      reply.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      reply.on('end', () => resolve(JSON.parse(text)));
      reply.on('error', reject);
    });
    request.on('timeout', () => request.destroy(new Error('no answer')));
    request.on('error', reject);
  });
}

/** Waits until so many different workers have answered; gives back their answers by pid. */
export async function answersOf(
  target: number | string,
  workers: number,
  url = '/',
): Promise<Map<number, Answer>> {
  const answers = new Map<number, Answer>();
  await until(`${workers} workers answered`, async () => {
    const answer = await ask(target, url);
    answers.set(answer.pid, answer);
    return answers.size === workers;
  });
  return answers;
}
