// Clients that ask for the same thing again and again, as many at once as told, and count what became of each request.
import http from 'node:http';

export interface LoadOptions {
  /** Clients at once. */
  clients?: number;
  /** Whether a client keeps its connection. */
  keepAlive?: boolean;
  path?: string;
}

/** What became of the requests. */
export interface Outcome {
  ok: number;
  /** Answers by the process that gave them. */
  byPid: Record<string, number>;
  /** Requests that got no answer, by the reason. */
  failures: Record<string, number>;
}

export interface Load {
  /** What was counted so far. */
  readonly seen: Outcome;
  /** Lets each client finish its request, and gives the counts. */
  stop(): Promise<Outcome>;
}

/** Starts clients of a port (or of the path of a UNIX socket). Whoever fails asks again at once; nothing is tried twice in silence. */
export function load(
  target: number | string,
  { clients = 12, keepAlive = false, path = '/' }: LoadOptions = {},
): Load {
  const seen: Outcome = { ok: 0, byPid: {}, failures: {} };
  let stopping = false;
  const where = typeof target === 'string' ? { socketPath: target } : { host: '127.0.0.1', port: target };

  const one = (agent: http.Agent) =>
    new Promise<void>((resolve) => {
      const failed = (why: string) => {
        seen.failures[why] = (seen.failures[why] ?? 0) + 1;
        // A refused connection fails faster than anything else could happen.
        setTimeout(resolve, 2);
      };
      const request = http.get({ ...where, agent, path, timeout: 8000 }, (reply) => {
        let text = '';
        reply.setEncoding('utf8').on('data', (chunk) => {
          text += chunk;
        });
        reply.on('error', (error: NodeJS.ErrnoException) => failed(`${error.code} in an answer`));
        reply.on('end', () => {
          if (reply.statusCode !== 200) return failed(`status ${reply.statusCode}`);
          const pid = /"pid":(\d+)/.exec(text)?.[1] ?? text;
          seen.ok += 1;
          seen.byPid[pid] = (seen.byPid[pid] ?? 0) + 1;
          resolve();
        });
      });
      request.on('timeout', () =>
        request.destroy(Object.assign(new Error('no answer'), { code: 'TIMEOUT' })),
      );
      request.on('error', (error: NodeJS.ErrnoException) =>
        failed(`${error.code} on a ${request.reusedSocket ? 'kept' : 'new'} connection`),
      );
    });

  const client = async () => {
    const agent = new http.Agent({ keepAlive, maxSockets: 1 });
    while (!stopping) await one(agent);
    agent.destroy();
  };
  const all = Promise.all(Array.from({ length: clients }, client));
  return {
    seen,
    async stop() {
      stopping = true;
      await all;
      return seen;
    },
  };
}
