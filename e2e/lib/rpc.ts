// PM2's own RPC client on a manager's home, for calls that no command makes.
import { createRequire } from 'node:module';
import path from 'node:path';
import type { Manager } from './manager.ts';

const require = createRequire(import.meta.url);
const axon = require('pm2/modules/pm2-axon');
const rpc = require('pm2/modules/pm2-axon-rpc');

// biome-ignore lint/suspicious/noExplicitAny: whatever the daemon answers
type Answer = any;

export class Rpc {
  private readonly socket = axon.socket('req');
  private readonly client = new rpc.Client(this.socket);

  private constructor() {}

  static async connect(pm: Manager): Promise<Rpc> {
    const it = new Rpc();
    const connected = new Promise((resolve) => it.socket.once('connect', resolve));
    it.socket.connect(path.join(pm.home, 'rpc.sock'));
    await connected;
    return it;
  }

  /** The first result of a method, or what it throws. */
  call(method: string, ...args: unknown[]): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.client.call(method, ...args, (error: Error | null, result: Answer) =>
        error ? reject(error) : resolve(result),
      );
    });
  }

  /** The words of an error, or the result. */
  async said(method: string, ...args: unknown[]): Promise<Answer> {
    try {
      return await this.call(method, ...args);
    } catch (error) {
      return `error: ${(error as Error).message}`;
    }
  }

  /** The methods that the daemon offers. */
  methods(done: (error: Error | null, methods: Record<string, unknown>) => void) {
    this.client.methods(done);
  }

  close() {
    this.socket.close();
  }
}
