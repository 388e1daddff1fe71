// `serve`: a folder over HTTP.
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { freePort } from '../lib/port.ts';
import { onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
let site: string;
let port: number;
beforeEach(async () => {
  pm = new Manager();
  site = path.join(pm.dir, 'site');
  port = await freePort();
  mkdirSync(path.join(site, 'sub'), { recursive: true });
  mkdirSync(path.join(site, 'bare'));
  writeFileSync(path.join(site, 'index.html'), 'home');
  writeFileSync(path.join(site, 'other.html'), 'other');
  writeFileSync(path.join(site, 'd.json'), '{"a":1}');
  writeFileSync(path.join(site, 'sub', 'a b.txt'), '0123456789');
  writeFileSync(path.join(site, 'bare', 'x&y.txt'), 'x');
  writeFileSync(path.join(pm.dir, 'secret'), 'secret');
});
afterEach(() => pm.dispose());

interface Answer {
  status: number | undefined;
  headers: http.IncomingHttpHeaders;
  body: string;
}

/** A request whose path is sent as it is: `fetch` would tidy it up. */
function get(at: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request(
      { host: '127.0.0.1', port, path: at, headers, method, agent: false },
      (reply) => {
        let body = '';
        reply.setEncoding('utf8').on('data', (chunk) => {
          body += chunk;
        });
        reply.on('end', () => resolve({ status: reply.statusCode, headers: reply.headers, body }));
      },
    );
    request.on('error', reject).end();
  });
}

const serves = () => until('it serves', () => get('/index.html'));

test('serve gives files with their types, and 404 for what is not there', async () => {
  const { stdout } = await pm.ok('serve', site, String(port));
  expect(stdout).toContain(`Serving ${site} on port ${port}`);
  await serves();
  const entry = await pm.app(`static-page-server-${port}`);
  expect(entry.pm2_env).toMatchObject({ status: 'online', exec_mode: 'fork_mode', pm_cwd: site });
  expect(entry.pm2_env.env).toMatchObject({ PM2_SERVE_PORT: String(port), PM2_SERVE_PATH: site });
  for (const [at, type, body] of [
    ['/', 'text/html', 'home'],
    ['/index.html?x=1', 'text/html', 'home'],
    ['/d.json', 'application/json', '{"a":1}'],
    ['/sub/a%20b.txt', 'text/plain', '0123456789'],
  ] as const) {
    const answer = await get(at);
    expect([at, answer.status, answer.body]).toEqual([at, 200, body]);
    expect(answer.headers['content-type']).toBe(type);
    expect(answer.headers['access-control-allow-origin']).toBe('*');
  }
  expect(await get('/nope')).toMatchObject({ status: 404, body: '404 Not Found' });
  writeFileSync(path.join(site, '404.html'), 'lost');
  expect(await get('/nope')).toMatchObject({ status: 404, body: 'lost' });
  for (const at of ['/../secret', '/%2e%2e/secret', '/..%2fsecret', '/sub/..%2f..%2fsecret']) {
    const answer = await get(at);
    expect([403, 404], at).toContain(answer.status);
    expect(answer.body, at).not.toContain('secret');
  }
});

test('serve --spa answers with the index, and finds scripts in the root', async () => {
  await pm.ok('serve', site, '--port', String(port), '--spa', '--name', 'front');
  await serves();
  expect((await pm.app('front')).pm2_env.status).toBe('online');
  expect(await get('/some/where')).toMatchObject({ status: 200, body: 'home' });
  expect(await get('/some/where/other.html')).toMatchObject({ status: 200, body: 'other' });
  expect(await get('/d.json')).toMatchObject({ status: 200, body: '{"a":1}' });
});

test('serve asks for a password', async () => {
  const auth = ['--basic-auth-username', 'user', '--basic-auth-password', 'pass:word'];
  await pm.ok('serve', site, String(port), ...auth);
  await serves();
  const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` });
  expect(await get('/')).toMatchObject({ status: 401 });
  expect((await get('/')).headers['www-authenticate']).toMatch(/^Basic/);
  expect(await get('/', basic('user:wrong'))).toMatchObject({ status: 401 });
  expect(await get('/d.json', basic('user:'))).toMatchObject({ status: 401 });
});

test('serve --ftp lists folders', async () => {
  await pm.ok('serve', site, String(port), '--ftp');
  await serves();
  const { status, body } = await get('/bare/');
  expect(status).toBe(200);
  expect(body).toContain('Index of /bare/');
  expect(body).toContain('href="x%26y.txt"');
  expect(body).toContain('x&amp;y.txt');
  expect(await get('/')).toMatchObject({ status: 200, body: 'home' });
});

test('a file’s static section, and an app whose script is serve', async () => {
  const second = await freePort();
  const file = path.join(pm.dir, 'sites.json');
  writeFileSync(
    file,
    JSON.stringify({
      apps: [{ name: 'frontend', script: 'serve', env: { PM2_SERVE_PORT: port, PM2_SERVE_PATH: './site' } }],
      static: [{ path: site, port: second, spa: true, basic_auth: { username: 'u', password: 'p' } }],
    }),
  );
  await pm.ok('start', file);
  await serves();
  const names = (await pm.list()).map((entry) => entry.name);
  expect(names).toEqual(['frontend', `static-page-server-${second}`]);
  port = second;
  const authorization = `Basic ${Buffer.from('u:p').toString('base64')}`;
  await until('the second serves', () => get('/'));
  expect(await get('/any/where', { authorization })).toMatchObject({ status: 200, body: 'home' });
  expect(await get('/any/where')).toMatchObject({ status: 401 });
  await pm.ok('stop', file);
  expect((await pm.app('frontend')).pm2_env.status).toBe('stopped');
});

test('serve again on the same name is refused', async () => {
  await pm.ok('serve', site, String(port));
  await serves();
  const { code, stderr } = await pm.run('serve', site, String(port));
  expect(code).toBe(1);
  expect(stderr).toContain('Script already launched');
});

onlyOurs('serve knows parts, freshness, HEAD, and refuses other methods', async () => {
  await pm.ok('serve', site, String(port));
  await serves();
  const at = '/sub/a%20b.txt';
  const part = await get(at, { range: 'bytes=2-4' });
  expect(part).toMatchObject({ status: 206, body: '234' });
  expect(part.headers['content-range']).toBe('bytes 2-4/10');
  expect(await get(at, { 'if-none-match': String(part.headers.etag) })).toMatchObject({
    status: 304,
    body: '',
  });
  const head = await get(at, {}, 'HEAD');
  expect(head).toMatchObject({ status: 200, body: '' });
  expect(head.headers['content-length']).toBe('10');
  expect(await get(at, {}, 'POST')).toMatchObject({ status: 405 });
  // The original ends at this one.
  expect(await get('/%ff')).toMatchObject({ status: 400 });
  expect(await get('/')).toMatchObject({ status: 200 });
});

onlyOurs('serve follows no link out of its folder', async () => {
  symlinkSync('../secret', path.join(site, 'out'));
  symlinkSync('sub/a b.txt', path.join(site, 'in'));
  await pm.ok('serve', site, String(port));
  await serves();
  expect(await get('/out')).toMatchObject({ status: 403 });
  expect(await get('/in')).toMatchObject({ status: 200, body: '0123456789' });
});

onlyOurs('serve names what is wrong', async () => {
  for (const [args, word] of [
    [['serve', path.join(pm.dir, 'nope')], 'nope'],
    [['serve', site, 'http'], 'http is no port'],
    [['serve', site, '--basic-auth-username', 'u'], '--basic-auth-password'],
  ] as const) {
    const { code, stderr } = await pm.run(...args);
    expect(code).toBe(1);
    expect(stderr).toContain(word);
  }
});

onlyOurs('serve --monitor leaves pages as they are, and says so', async () => {
  const { stderr } = await pm.ok('serve', site, String(port), '--monitor', 'shop');
  expect(stderr).toContain('--monitor: pages are served as they are');
  expect((await serves()).body).toBe('home');
});
