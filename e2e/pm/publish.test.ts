// `publish`: a module to a registry of one's own, or a new version of it to npm and to git.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { onlyOurs } from '../lib/under-test.ts';

interface Received {
  line: string;
  body: Buffer;
  type: string;
}

let pm: Manager;
let server: Server;
let received: Received[];
/** What the registry answers. */
let answer: [number, string];
let url: string;
let module: string;

beforeEach(async () => {
  pm = new Manager();
  received = [];
  answer = [200, '{}'];
  server = createServer((request, reply) => {
    const parts: Buffer[] = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      const type = request.headers['content-type'] ?? '';
      received.push({ line: `${request.method} ${request.url}`, body: Buffer.concat(parts), type });
      reply.writeHead(answer[0], { 'content-type': 'application/json' }).end(answer[1]);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  module = path.join(pm.dir, 'plain');
  mkdirSync(module);
  const manifest = { name: 'a-module', version: '1.2.3', pm2: [{ name: 'a-module', script: 'index.js' }] };
  writeFileSync(path.join(module, 'package.json'), JSON.stringify(manifest));
  writeFileSync(path.join(module, 'index.js'), 'setInterval(() => {}, 1000);\n');
});
afterEach(async () => {
  await pm.dispose();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const inModule = (input: string, ...words: string[]) =>
  pm.with(pm.program, words, { input, cwd: module, env: npm() });
const version = () => JSON.parse(readFileSync(path.join(module, 'package.json'), 'utf8')).version;

/** What makes npm publish to the server, and be let in. */
function npm(): Record<string, string> {
  const file = path.join(pm.dir, 'npmrc');
  writeFileSync(file, `registry=${url}/\n${url.slice(5)}/:_authToken=a-token\n`);
  return { npm_config_userconfig: file, npm_config_cache: path.join(pm.dir, 'npm-cache') };
}

test('publish sends the module as a tarball to the registry that is set', async () => {
  await pm.ok('set', 'pm2:registry', url);
  const { code, stdout } = await pm.run('publish', module);
  expect(code).toBe(0);
  expect(stdout).toContain('Starting publishing procedure for plain@1.2.3');
  expect(stdout).toContain(`Sending Package to remote a-module ${url}/api/v1/modules`);
  expect(stdout).toContain('Module plain published under version 1.2.3');
  const [{ line, body, type }] = received as [Received];
  expect(line).toBe('POST /api/v1/modules');
  const form = await new Response(new Uint8Array(body), { headers: { 'content-type': type } }).formData();
  expect([form.get('id'), form.get('name'), form.get('version')]).toEqual(['a-module', 'a-module', '1.2.3']);
  const file = form.get('module_data') as File;
  expect([file.name, file.type]).toEqual(['plain-v1-2-3.tar.gz', 'content/gzip']);
  const tarball = path.join(pm.dir, 'received.tar.gz');
  writeFileSync(tarball, Buffer.from(await file.arrayBuffer()));
  const names = execFileSync('tar', ['-tzf', tarball]).toString().split('\n');
  expect(names).toEqual(expect.arrayContaining(['module/package.json', 'module/index.js']));
});

test('publish tells what the registry says against it, and that it is not there', async () => {
  await pm.ok('set', 'pm2:registry', url);
  answer = [409, '{"msg":"this version is taken"}'];
  const taken = await pm.run('publish', module);
  expect(taken).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('a-module-1.2.3: this version is taken'),
  });
  expect(await pm.run('publish', path.join(pm.dir, 'nowhere'))).toMatchObject({ code: 1 });
  await pm.ok('set', 'pm2:registry', 'http://127.0.0.1:1');
  expect((await pm.run('publish', module)).code).toBe(1);
});

onlyOurs('publish names what is missing', async () => {
  const unset = await pm.run('publish', module);
  expect([unset.code, unset.stderr]).toEqual([1, expect.stringContaining('set pm2:registry')]);
  await pm.ok('set', 'pm2:registry', url);
  answer = [500, 'no JSON'];
  expect((await pm.run('publish', module)).stderr).toContain('the registry answered with status 500');
  await pm.ok('set', 'pm2:registry', 'http://127.0.0.1:1');
  expect((await pm.run('publish', module)).stderr).toContain(
    'sending to http://127.0.0.1:1/api/v1/modules: ',
  );
  // Names of folders are no words for a shell, as which the original takes them.
  const blank = path.join(pm.dir, 'folder "of it');
  cpSync(module, blank, { recursive: true });
  await pm.ok('set', 'pm2:registry', url);
  answer = [200, '{}'];
  expect((await pm.run('publish', blank)).stdout).toContain('Module folder "of it published');
});

function git(cwd: string, ...words: string[]): string {
  const who = ['-c', 'user.name=e2e', '-c', 'user.email=e2e@localhost'];
  return execFileSync('git', [...who, ...words], { cwd })
    .toString()
    .trim();
}

test('publish --npm raises the version, publishes it on npm, and commits and pushes', async () => {
  const origin = path.join(pm.dir, 'origin.git');
  git(pm.dir, 'init', '-q', '--bare', '-b', 'master', origin);
  git(module, 'init', '-q', '-b', 'master');
  git(module, 'config', 'user.name', 'e2e');
  git(module, 'config', 'user.email', 'e2e@localhost');
  git(module, 'remote', 'add', 'origin', origin);
  git(module, 'add', '.');
  git(module, 'commit', '-q', '-m', 'first');

  const refused = await inModule('N\n', 'publish', '--npm');
  expect(refused).toMatchObject({ code: 0, stdout: expect.stringContaining('Write & Publish? [Y/N]') });
  expect([version(), received.length]).toEqual(['1.2.3', 0]);

  const { code, stdout } = await inModule('Y\n', 'publish', '--npm');
  expect(code).toBe(0);
  expect(stdout).toContain('Incrementing module to: a-module@1.3.0');
  expect(stdout).toContain('a-module@1.3.0 successfully published');
  expect(stdout).toMatch(/Installable with \S+ install a-module/);
  expect(version()).toBe('1.3.0');
  const sent = received.find(({ line }) => line === 'PUT /a-module');
  expect(Object.keys(JSON.parse(String(sent?.body)).versions)).toEqual(['1.3.0']);
  expect(git(origin, 'log', '--format=%s', 'master')).toBe('1.3.0\nfirst');
});

onlyOurs('publish --npm that npm refuses leaves the version as it was', async () => {
  answer = [403, '{"error":"you may not"}'];
  const before = readFileSync(path.join(module, 'package.json'), 'utf8');
  const { code, stdout, stderr } = await inModule('Y\n', 'publish', '--npm');
  expect(code).toBe(1);
  expect(stderr).toContain('you may not');
  expect(stdout).not.toContain('successfully');
  expect(readFileSync(path.join(module, 'package.json'), 'utf8')).toBe(before);

  // Without git, it is on npm all the same.
  answer = [200, '{}'];
  const published = await inModule('Y\n', 'publish', '--npm');
  expect(published.code).toBe(0);
  expect(published.stderr).toContain('is on npm, but not in git');
});
