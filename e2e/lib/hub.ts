// A hub on loopback with an empty data folder, and a person logged in to it.
import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { discard, scratch } from './scratch.ts';
import { ourBinary } from './under-test.ts';
import { until } from './until.ts';

export const owner = { email: 'owner@example.com', password: 'correct horse battery staple' };

export interface HubFacts {
  url: string;
  bucket: string;
  public_key: string;
  secret_key: string;
}

export class Hub {
  readonly dir: string;
  readonly data: string;
  facts!: HubFacts;
  private child!: ChildProcess;
  private stderrText = '';
  private token = '';

  private constructor(private readonly options: readonly string[]) {
    this.dir = scratch();
    this.data = path.join(this.dir, 'data');
  }

  /** Starts one, with further options of the command line. */
  static start(...options: string[]): Promise<Hub> {
    return Hub.startAt('127.0.0.1:0', ...options);
  }

  /** The same on another address. */
  static async startAt(listen: string, ...options: string[]): Promise<Hub> {
    const hub = new Hub(options);
    await hub.launch(listen);
    return hub;
  }

  /** Starts the hub on its data folder; resolves with the facts of its start line. */
  private async launch(listen: string) {
    this.child = spawn(
      ourBinary.path,
      ['hub', '--data', this.data, '--listen', listen, '--json', ...this.options],
      {
        env: {
          ...process.env,
          PILOTHOUSE_OWNER_EMAIL: owner.email,
          PILOTHOUSE_OWNER_PASSWORD: owner.password,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    this.child.stderr?.setEncoding('utf8').on('data', (text) => {
      this.stderrText += text;
    });
    const stdout = this.child.stdout;
    if (!stdout) throw new Error('the hub has no output');
    const lines = createInterface({ input: stdout });
    const first = await new Promise<string>((resolve, reject) => {
      lines.once('line', resolve);
      this.child.once('exit', (code) =>
        reject(new Error(`the hub exited with ${code} before it was ready:\n${this.stderrText}`)),
      );
    });
    this.facts = JSON.parse(first);
  }

  /** Kills the hub as a crash would, and starts it again on the same port and data. */
  async crashAndRestart() {
    const { host } = new URL(this.facts.url);
    await this.end('SIGKILL');
    const known = this.facts;
    await this.launch(host);
    this.facts = { ...known, url: this.facts.url };
  }

  async end(signal: NodeJS.Signals = 'SIGTERM') {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill(signal);
    await gone;
  }

  async dispose() {
    await this.end();
    discard(this.dir);
  }

  get log(): string {
    return this.stderrText;
  }

  /** Logs somebody in, as a program does. */
  async grant(person: {
    email: string;
    password: string;
  }): Promise<{ access_token: string; refresh_token: string }> {
    const reply = await fetch(`${this.facts.url}/api/oauth/token`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        grant_type: 'password',
        client_id: 'e2e',
        username: person.email,
        password: person.password,
      }),
    });
    if (!reply.ok) throw new Error(`login: ${reply.status} ${await reply.text()}`);
    return reply.json();
  }

  /** Logs in with the owner's password; the access token is kept for `api`. */
  async login(): Promise<{ access_token: string; refresh_token: string }> {
    const tokens = await this.grant(owner);
    this.token = tokens.access_token;
    return tokens;
  }

  /** A REST call as the owner. */
  // biome-ignore lint/suspicious/noExplicitAny: bodies differ by route and are looked at by name
  async api(method: string, route: string, body?: unknown): Promise<{ status: number; body: any }> {
    if (!this.token) await this.login();
    const reply = await fetch(`${this.facts.url}${route}`, {
      method,
      headers: { authorization: `Bearer ${this.token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await reply.text();
    return { status: reply.status, body: text ? JSON.parse(text) : null };
  }

  /** A REST call as the owner whose answer comes bit by bit; all its events, once it has ended. */
  // biome-ignore lint/suspicious/noExplicitAny: events are looked at by name
  async follow(route: string, body: unknown): Promise<any[]> {
    if (!this.token) await this.login();
    const reply = await fetch(`${this.facts.url}${route}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${this.token}`,
        'content-type': 'application/json',
        accept: 'text/event-stream',
      },
      body: JSON.stringify(body),
    });
    if (reply.status !== 200) throw new Error(`${route}: ${reply.status} ${await reply.text()}`);
    return [...(await reply.text()).matchAll(/^data: (.*)$/gm)].map(([, text]) => JSON.parse(String(text)));
  }

  /** The one bucket's status snapshot, as `data.status.retrieve` gives it. */
  // biome-ignore lint/suspicious/noExplicitAny: the API's own shape
  async status(): Promise<any[]> {
    const { status, body } = await this.api('GET', `/api/bucket/${this.facts.bucket}/data/status`);
    if (status !== 200) throw new Error(`status: ${status} ${JSON.stringify(body)}`);
    return body;
  }

  /** Waits until a server of this name is in the snapshot and `check` holds for it. */
  // biome-ignore lint/suspicious/noExplicitAny: the API's own shape
  server(name: string, check: (server: any) => boolean = () => true): Promise<any> {
    return until(`the hub shows server ${name} as expected`, async () =>
      (await this.status()).find((server) => server.server_name === name && check(server)),
    );
  }
}
