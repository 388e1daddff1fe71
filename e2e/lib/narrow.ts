// A network that is narrower than it should be: a proxy before a hub that lets plain HTTP through and, while it is narrow,
// no WebSocket.
import { createServer, request, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

export class Narrow {
  private readonly open = new Set<Duplex>();
  private constructor(
    private readonly server: Server,
    readonly url: string,
    private blocked: boolean,
  ) {}

  static async before(hub: string, blocked = true): Promise<Narrow> {
    const target = new URL(hub);
    const server = createServer((asked, answer) => {
      const forward = request(
        {
          host: target.hostname,
          port: target.port,
          method: asked.method,
          path: asked.url,
          headers: { ...asked.headers, host: target.host },
        },
        (got) => {
          answer.writeHead(got.statusCode ?? 502, got.headers);
          got.pipe(answer);
        },
      );
      forward.on('error', () => answer.writeHead(502).end());
      asked.pipe(forward);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    const narrow = new Narrow(server, `http://127.0.0.1:${port}`, blocked);
    server.on('connection', (socket) => narrow.keep(socket));
    server.on('upgrade', (asked, socket, head) => {
      if (narrow.blocked) {
        socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
        return;
      }
      const through: Socket = connect(Number(target.port), target.hostname, () => {
        const lines = [`${asked.method} ${asked.url} HTTP/1.1`];
        for (let n = 0; n < asked.rawHeaders.length; n += 2)
          lines.push(`${asked.rawHeaders[n]}: ${asked.rawHeaders[n + 1]}`);
        through.write(`${lines.join('\r\n')}\r\n\r\n`);
        through.write(head);
        socket.pipe(through).pipe(socket);
      });
      narrow.keep(through);
    });
    return narrow;
  }

  private keep(socket: Duplex) {
    this.open.add(socket);
    // Whoever is refused may leave in the middle of it.
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.open.delete(socket));
  }

  /** From now on WebSockets get through. */
  widen() {
    this.blocked = false;
  }

  /** From now on they do not, and those that are open end. */
  tighten() {
    this.blocked = true;
    for (const socket of this.open) socket.destroy();
  }

  close() {
    for (const socket of this.open) socket.destroy();
    return new Promise((resolve) => this.server.close(resolve));
  }
}
