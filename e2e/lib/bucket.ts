// A bucket of its own for one test, on a hub that several tests share.
import type { Hub } from './hub.ts';
import type { Manager, Outcome } from './manager.ts';
import { until } from './until.ts';

/** A process as our own routes show it, as far as the tests look at it. */
export interface ShownProcess {
  key: string;
  pm_id: number;
  name: string;
  pid: number;
  status: string;
  exec_mode: string;
  cpu: number | null;
  memory: number | null;
  over_plan: boolean;
  module: boolean;
  versioning: { revision: string; branch: string } | null;
}

/** A server as our own routes show it, as far as the tests look at it. */
export interface Shown {
  id: string;
  name: string;
  hostname: string;
  username: string | null;
  state: string;
  online: boolean;
  hidden: boolean;
  agent: string;
  versions: { pm2: string; node: string; agent: string };
  reverse: boolean;
  reverse_disabled: boolean;
  allowed: string[] | null;
  last_seen: number;
  clock_ahead: number | null;
  manifest: { digest: string; key: string; known: boolean; since: number } | null;
  failure: { at: number; text: string } | null;
  absence: {
    reason: 'stopped' | 'daemon_dead' | 'link_lost' | 'host_gone';
    sure: boolean;
    since: number;
    until: number | null;
    filled: boolean;
  } | null;
  processes: ShownProcess[];
}

export interface Overview {
  servers: Shown[];
  plan: { limit: number | null; used: number; over_plan: number };
  waiting: { name: string; hostname: string }[];
}

export class Bucket {
  private constructor(
    readonly hub: Hub,
    readonly id: string,
    readonly publicKey: string,
    readonly secretKey: string,
  ) {}

  static async make(hub: Hub, settings: Record<string, unknown> = {}): Promise<Bucket> {
    const { status, body } = await hub.api('POST', '/api/bucket/create_classic', { name: 'a test' });
    if (status !== 200) throw new Error(`making a bucket: ${status} ${JSON.stringify(body)}`);
    const { _id, public_id, secret_id } = body.bucket;
    const bucket = new Bucket(hub, _id, public_id, secret_id);
    if (Object.keys(settings).length > 0) await bucket.set(settings);
    return bucket;
  }

  /** Changes what its owner can set. */
  async set(settings: Record<string, unknown>) {
    const { status, body } = await this.hub.api('PUT', `/api/bucket/${this.id}`, settings);
    if (status !== 200) throw new Error(`changing the bucket: ${status} ${JSON.stringify(body)}`);
  }

  /** A REST call below the bucket's path. */
  api(method: string, rest: string, body?: unknown) {
    return this.hub.api(method, `/api/bucket/${this.id}${rest}`, body);
  }

  /** Has something done on a server; everything that was told of it, the end last. */
  act(server: Shown, body: Record<string, unknown>) {
    return this.hub.follow(`/api/bucket/${this.id}/servers/${server.id}/actions`, body);
  }

  /** Asks somebody in who has no account yet, and lets them make one. */
  async welcome(person: { username: string; email: string; password: string }) {
    const { body } = await this.api('POST', '/add_user', { email: person.email });
    const link: string = body.invitations[0].link;
    const invitation = link.slice(link.lastIndexOf('/') + 1);
    const { status, body: made } = await this.hub.api('POST', '/api/oauth/register', {
      ...person,
      invitation,
    });
    if (status !== 200) throw new Error(`registering: ${status} ${JSON.stringify(made)}`);
  }

  /** Links a manager's home to this bucket, as its user would. */
  link(pm: Manager, ...name: string[]): Promise<Outcome> {
    return pm.run('link', this.secretKey, this.publicKey, ...name, '--info-node', this.hub.facts.url);
  }

  async look(): Promise<Overview> {
    const { status, body } = await this.api('GET', '/servers');
    if (status !== 200) throw new Error(`servers: ${status} ${JSON.stringify(body)}`);
    return body;
  }

  /** Waits until a server of this name is there and `check` holds for it. */
  server(name: string, check: (server: Shown) => boolean = () => true, within = 15_000): Promise<Shown> {
    return until(
      `the hub shows server ${name} as expected`,
      async () => (await this.look()).servers.find((server) => server.name === name && check(server)),
      { within },
    );
  }

  remove(server: Shown, body: { mode?: 'delete' | 'hide'; purge?: boolean } = {}) {
    return this.api('DELETE', `/servers/${server.id}`, body);
  }

  /** Address of one of its pages. */
  page(rest = ''): string {
    return `${this.hub.facts.url}/#/bucket/${this.id}${rest}`;
  }
}
