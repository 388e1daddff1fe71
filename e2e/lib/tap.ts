// A wire that is listened to: everything that goes to a hub, byte for byte, and the WebSocket messages in it. It can be
// held, so that nothing comes through and nobody is told, as when a network is down.
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

type Pair = readonly [Socket, Socket];

function join([one, other]: Pair) {
  one.pipe(other).pipe(one);
}

export class Tap {
  private readonly pairs = new Set<Pair>();
  private held: (() => void)[] | null = null;
  /** What each connection sent, in the order in which they were opened. */
  private readonly sent: Buffer[][] = [];

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
      const sent: Buffer[] = [];
      tap.sent.push(sent);
      client.on('data', (chunk) => sent.push(chunk));
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
    return this.sent.length;
  }

  /** Binary WebSocket messages that were sent, as base64. */
  messages(): string[] {
    return this.sent.flatMap((chunks) => [...messagesOf(Buffer.concat(chunks))]);
  }

  close() {
    for (const socket of [...this.pairs].flat()) socket.destroy();
    return new Promise((resolve) => this.server.close(resolve));
  }
}

/** Reads the frames behind an upgrade, as RFC 6455 has them: those of a client are masked. */
function* messagesOf(bytes: Buffer): Generator<string> {
  let at = bytes.indexOf('\r\n\r\n') + 4;
  if (at < 4 || !/^upgrade: websocket/im.test(bytes.toString('latin1', 0, at))) return;
  while (bytes.length >= at + 2) {
    const opcode = (bytes[at] ?? 0) & 0x0f;
    const finished = ((bytes[at] ?? 0) & 0x80) !== 0;
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
    if (bytes.length < body + 4 + length) return;
    const mask = bytes.subarray(body, body + 4);
    const payload = Buffer.from(bytes.subarray(body + 4, body + 4 + length));
    for (let n = 0; n < payload.length; n++) payload[n] = (payload[n] ?? 0) ^ (mask[n % 4] ?? 0);
    if (opcode === 2) {
      if (!finished) throw new Error('a message in several frames: the tap reads none of those');
      yield payload.toString('base64');
    }
    at = body + 4 + length;
  }
}
