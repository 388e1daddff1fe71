// A wire that is listened to: everything that goes to a hub and comes from it, byte for byte, and the WebSocket messages in it.
// It can be held, so that nothing comes through and nobody is told, as when a network is down.
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

type Pair = readonly [Socket, Socket];

/** A message between one of PM2's agents and a hub. */
export interface Said {
  channel: string;
  // biome-ignore lint/suspicious/noExplicitAny: payloads differ by channel and are looked at by name
  payload: any;
}

/** What was said on one WebSocket of PM2's agents, by the agent (`up`) and by the hub (`down`), oldest first. */
export interface Talk {
  up: Said[];
  down: Said[];
}

const TEXT = 1;
const BINARY = 2;

function join([one, other]: Pair) {
  one.pipe(other).pipe(one);
}

export class Tap {
  private readonly pairs = new Set<Pair>();
  private held: (() => void)[] | null = null;
  /** What went over each connection, in the order in which they were opened. */
  private readonly passed: { up: Buffer[]; down: Buffer[] }[] = [];

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async before(hub: string): Promise<Tap> {
    const target = new URL(hub);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const tap = new Tap(server, `http://127.0.0.1:${port}`);
    server.on('connection', (client) => {
      const through = connect(Number(target.port), target.hostname);
      const passed = { up: [] as Buffer[], down: [] as Buffer[] };
      tap.passed.push(passed);
      client.on('data', (chunk) => passed.up.push(chunk));
      through.on('data', (chunk) => passed.down.push(chunk));
      const pair = [client, through] as const;
      tap.pairs.add(pair);
      if (!tap.held) join(pair);
      const end = () => {
        tap.pairs.delete(pair);
        for (const one of pair) one.destroy();
      };
      for (const one of pair) {
        one.on('error', () => {});
        one.on('close', () => {
          if (tap.held) tap.held.push(end);
          else end();
        });
      }
    });
    return tap;
  }

  /** From now on nothing comes through, not even the end of a connection. */
  hold() {
    this.held ??= [];
    for (const [one, other] of this.pairs) {
      one.unpipe(other);
      other.unpipe(one);
    }
  }

  /** What was held comes through, and all that follows. */
  release() {
    const ends = this.held ?? [];
    this.held = null;
    for (const end of ends) end();
    for (const pair of this.pairs) join(pair);
  }

  get connections(): number {
    return this.passed.length;
  }

  /** Binary WebSocket messages that were sent, as base64. */
  messages(): string[] {
    return this.passed.flatMap(({ up }) =>
      [...messagesOf(Buffer.concat(up), BINARY)].map((payload) => payload.toString('base64')),
    );
  }

  /** What PM2's agents and the hub said to each other, socket by socket. */
  talks(): Talk[] {
    const read = (chunks: Buffer[]): Said[] =>
      [...messagesOf(Buffer.concat(chunks), TEXT)].map((payload) => JSON.parse(payload.toString()));
    return this.passed
      .map(({ up, down }) => ({ up: read(up), down: read(down) }))
      .filter(({ up, down }) => up.length + down.length > 0);
  }

  close() {
    for (const socket of [...this.pairs].flat()) socket.destroy();
    return new Promise((resolve) => this.server.close(resolve));
  }
}

/** The messages of one kind behind an upgrade, as RFC 6455 has them: those of a client are masked. */
function* messagesOf(bytes: Buffer, wanted: number): Generator<Buffer> {
  let at = bytes.indexOf('\r\n\r\n') + 4;
  if (at < 4 || !/^upgrade: websocket/im.test(bytes.toString('latin1', 0, at))) return;
  while (bytes.length >= at + 2) {
    const opcode = (bytes[at] ?? 0) & 0x0f;
    const finished = ((bytes[at] ?? 0) & 0x80) !== 0;
    const masked = ((bytes[at + 1] ?? 0) & 0x80) !== 0;
    let length = (bytes[at + 1] ?? 0) & 0x7f;
    let body = at + 2;
    if (length === 126) {
      if (bytes.length < body + 2) return;
      length = bytes.readUInt16BE(body);
      body += 2;
    } else if (length === 127) {
      if (bytes.length < body + 8) return;
      length = Number(bytes.readBigUInt64BE(body));
      body += 8;
    }
    const mask = masked ? bytes.subarray(body, body + 4) : Buffer.alloc(4);
    if (masked) body += 4;
    if (bytes.length < body + length) return;
    const payload = Buffer.from(bytes.subarray(body, body + length));
    for (let n = 0; n < payload.length; n++) payload[n] = (payload[n] ?? 0) ^ (mask[n % 4] ?? 0);
    if (opcode === wanted) {
      if (!finished) throw new Error('a message in several frames: the tap reads none of those');
      yield payload;
    }
    at = body + length;
  }
}
