// Ways to a hub on which one thing is wrong: each is a real server of the loopback between a host and its hub.
import { readFileSync } from 'node:fs';
import { createServer as createHttp, request, type Server } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer, type Server as NetServer } from 'node:net';
import path from 'node:path';
import { root } from './under-test.ts';

export interface Detour {
  url: string;
  close: () => Promise<unknown>;
}

async function listen(server: Server | NetServer, scheme: string): Promise<Detour> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `${scheme}://127.0.0.1:${port}`,
    close: () => {
      if ('closeAllConnections' in server) server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A server with TLS whose certificate is of an authority that nobody knows. */
export function untrusted(): Promise<Detour> {
  const fixture = (name: string) => readFileSync(path.join(root, 'crates/agent/tests/fixtures', name));
  const options = { key: fixture('tls-server.key'), cert: fixture('tls-server.pem') };
  return listen(
    createHttps(options, (_, answer) => answer.end('{}')),
    'https',
  );
}

/** A proxy that opens no tunnel to anywhere. */
export function refusingProxy(): Promise<Detour> {
  const server = createHttp((_, answer) => answer.writeHead(403).end());
  server.on('connect', (_, socket) => socket.end('HTTP/1.1 403 Forbidden\r\n\r\n'));
  return listen(server, 'http');
}

/** Something that answers, and is no hub. */
export function stranger(): Promise<Detour> {
  return listen(
    createHttp((_, answer) => answer.writeHead(404).end('not here')),
    'http',
  );
}

/** Takes connections and never says a word. */
export async function mute(): Promise<Detour> {
  const open = new Set<{ destroy: () => void }>();
  const server = createServer((socket) => open.add(socket.on('error', () => socket.destroy())));
  const detour = await listen(server, 'http');
  return {
    url: detour.url,
    close: () => {
      for (const socket of open) socket.destroy();
      return detour.close();
    },
  };
}

/** The hub, as a host sees it whose clock is `ms` ahead: what it says of the time is that much behind. */
export function asSeenFrom(hub: string, ms: number): Promise<Detour> {
  const target = new URL(hub);
  const server = createHttp((asked, answer) => {
    const headers = { ...asked.headers, host: target.host };
    const { hostname, port } = target;
    const forward = request({ hostname, port, method: asked.method, path: asked.url, headers }, (got) => {
      const parts: Buffer[] = [];
      got.on('data', (part) => parts.push(part));
      got.on('end', () => {
        const said = JSON.parse(Buffer.concat(parts).toString());
        answer.writeHead(got.statusCode ?? 502, { 'content-type': 'application/json' });
        answer.end(JSON.stringify({ ...said, now: said.now - ms }));
      });
    });
    forward.on('error', () => answer.destroy());
    asked.pipe(forward);
  });
  return listen(server, 'http');
}
