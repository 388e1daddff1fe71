// Real proxies of each kind, each with a password: small ones that note what they were asked for, and two that people run.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer as createHttp, type RequestListener } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { until } from './until.ts';

export interface TestProxy {
  url: string;
  /** `host:port` of each tunnel that was opened. */
  asked: string[];
  close: () => Promise<unknown>;
}

const login = { user: 'pilot', password: 'sea secret' };
const credentials = `${login.user}:${encodeURIComponent(login.password)}`;

async function listen(server: Server, scheme: string, asked: string[]): Promise<TestProxy> {
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => open.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `${scheme}://${credentials}@127.0.0.1:${port}`,
    asked,
    close: () => {
      for (const socket of open) socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

function join(client: Socket, host: string, port: number, ready: (through: Socket) => void) {
  const through = connect(port, host, () => {
    ready(through);
    client.pipe(through).pipe(client);
  });
  through.on('error', () => client.destroy());
  client.on('close', () => through.destroy());
}

const refuse: RequestListener = (_, answer) => answer.writeHead(405).end();

export function httpProxy(): Promise<TestProxy> {
  return tunnels(createHttp(refuse), 'http');
}

/** The same inside TLS. Its certificate is of an authority of its own, whose file it names. */
export async function httpsProxy(dir: string): Promise<TestProxy & { authority: string }> {
  const file = (name: string) => path.join(dir, name);
  const openssl = (...words: string[]) => execFileSync('openssl', words, { cwd: dir, stdio: 'pipe' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  writeFileSync(file('names'), 'subjectAltName=IP:127.0.0.1');
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=a test');
  openssl('req', ...key, '-keyout', 'proxy.key', '-out', 'proxy.csr', '-subj', '/CN=proxy');
  const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'names'];
  openssl('x509', '-req', '-in', 'proxy.csr', ...signed, '-out', 'proxy.pem');
  const identity = { key: readFileSync(file('proxy.key')), cert: readFileSync(file('proxy.pem')) };
  const proxy = await tunnels(createHttps(identity, refuse), 'https');
  return { ...proxy, authority: file('ca.pem') };
}

function tunnels(server: ReturnType<typeof createHttp>, scheme: string): Promise<TestProxy> {
  const asked: string[] = [];
  const expected = `Basic ${Buffer.from(`${login.user}:${login.password}`).toString('base64')}`;
  server.on('connect', (request, socket, head) => {
    if (request.headers['proxy-authorization'] !== expected) {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
      return;
    }
    asked.push(request.url ?? '');
    const { hostname, port } = new URL(`http://${request.url}`);
    join(socket as Socket, hostname, Number(port), (through) => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      through.write(head);
    });
  });
  return listen(server, scheme, asked);
}

/** A proxy that people run, on an address; with what it printed. */
export interface PublicProxy {
  name: string;
  url: string;
  close: () => Promise<unknown>;
}

const simple = { user: 'pilot', password: 'sea-secret' };

/** Why none of those can run here; empty where both can. */
export function noPublicProxies(): string {
  const missing = ['tinyproxy', 'microsocks'].filter((name) => !existsSync(`/usr/bin/${name}`));
  return missing.length === 0 ? '' : `needs ${missing.join(' and ')} in /usr/bin`;
}

export function tinyproxy(host: string, port: number, dir: string): Promise<PublicProxy> {
  const file = path.join(dir, 'tinyproxy.conf');
  const lines = [
    `Listen ${host}`,
    `Port ${port}`,
    `BasicAuth ${simple.user} ${simple.password}`,
    'Timeout 600',
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  return running('tinyproxy', ['-d', '-c', file], 'http', host, port);
}

export function microsocks(host: string, port: number): Promise<PublicProxy> {
  const words = ['-i', host, '-p', String(port), '-u', simple.user, '-P', simple.password];
  return running('microsocks', words, 'socks5', host, port);
}

async function running(
  name: string,
  words: string[],
  scheme: string,
  host: string,
  port: number,
): Promise<PublicProxy> {
  const child = spawn(`/usr/bin/${name}`, words, { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.on('exit', resolve));
  const close = () => {
    child.kill('SIGKILL');
    return ended;
  };
  const knock = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect(port, host, () => resolve(true));
      socket.on('error', () => resolve(false));
      socket.on('close', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
  try {
    await until(`${name} listens`, knock);
  } catch (error) {
    await close();
    throw error;
  }
  return { name, url: `${scheme}://${simple.user}:${simple.password}@${host}:${port}`, close };
}

/** SOCKS 4a with a user: it knows no passwords. */
export function socks4Proxy(): Promise<TestProxy> {
  const asked: string[] = [];
  const server = createServer((socket) => {
    let data = Buffer.alloc(0);
    const read = (chunk: Buffer) => {
      data = Buffer.concat([data, chunk]);
      const end = data.indexOf(0, 8);
      if (end < 0) return;
      const address = [...data.subarray(4, 8)];
      // 0.0.0.x says that a name follows.
      const named = address.slice(0, 3).every((part) => part === 0);
      const last = named ? data.indexOf(0, end + 1) : end;
      if (last < 0) return;
      if (data.subarray(8, end).toString() !== login.user) {
        socket.end(Buffer.from([0, 93, 0, 0, 0, 0, 0, 0]));
        return;
      }
      const host = named ? data.subarray(end + 1, last).toString() : address.join('.');
      const port = data.readUInt16BE(2);
      const rest = data.subarray(last + 1);
      asked.push(`${host}:${port}`);
      socket.off('data', read);
      join(socket, host, port, (through) => {
        socket.write(Buffer.from([0, 90, 0, 0, 0, 0, 0, 0]));
        through.write(rest);
      });
    };
    socket.on('data', read);
  });
  return listen(server, 'socks4', asked);
}

/** SOCKS 5 with user and password; the one method, as RFC 1928 and 1929 have it. */
export function socksProxy(): Promise<TestProxy> {
  const asked: string[] = [];
  const server = createServer((socket) => {
    let step: 'hello' | 'login' | 'request' = 'hello';
    let data = Buffer.alloc(0);
    const read = (chunk: Buffer) => {
      data = Buffer.concat([data, chunk]);
      if (step === 'hello' && data.length >= 2 && data.length >= 2 + (data[1] ?? 0)) {
        data = data.subarray(2 + (data[1] ?? 0));
        step = 'login';
        socket.write(Buffer.from([5, 2]));
      }
      if (step === 'login' && data.length > 2) {
        const user = data.subarray(2, 2 + (data[1] ?? 0)).toString();
        const at = 2 + (data[1] ?? 0);
        const length = data[at];
        if (length === undefined || data.length < at + 1 + length) return;
        const password = data.subarray(at + 1, at + 1 + length).toString();
        const right = user === login.user && password === login.password;
        socket.write(Buffer.from([1, right ? 0 : 1]));
        if (!right) return socket.destroy();
        data = data.subarray(at + 1 + length);
        step = 'request';
      }
      if (step === 'request' && data.length >= 7) {
        let host = '';
        let end = 0;
        if (data[3] === 1) {
          host = [...data.subarray(4, 8)].join('.');
          end = 8;
        } else if (data[3] === 3) {
          end = 5 + (data[4] ?? 0);
          host = data.subarray(5, end).toString();
        }
        if (data.length < end + 2) return;
        const port = data.readUInt16BE(end);
        const rest = data.subarray(end + 2);
        asked.push(`${host}:${port}`);
        socket.off('data', read);
        join(socket, host, port, (through) => {
          socket.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
          through.write(rest);
        });
      }
    };
    socket.on('data', read);
  });
  return listen(server, 'socks5', asked);
}
