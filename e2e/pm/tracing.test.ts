// Tracing by OpenTelemetry: the packages are fetched once, and apps that are to be traced tell their spans on the bus.
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { clientProgram } from '../lib/client.ts';
import { Manager } from '../lib/manager.ts';
import { ownPm2 } from '../lib/own-pm2.ts';
import { Registry } from '../lib/registry.ts';
import { apps, binary, onlyOurs, root, underTest } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

/** What PM2 7.0.4 fetches; ours needs the first three, and npm brings the rest. */
const packages = [
  ['@opentelemetry/api', '1.9.1'],
  ['@opentelemetry/sdk-node', '0.221.0'],
  ['@opentelemetry/auto-instrumentations-node', '0.79.0'],
  ['@opentelemetry/core', '2.10.0'],
  ['@opentelemetry/sdk-trace-base', '2.10.0'],
  ['@opentelemetry/semantic-conventions', '1.43.0'],
] as const;

let registry: Registry;
let pm: Manager;
let program: typeof binary;
beforeEach(async () => {
  registry = await Registry.start();
  pm = new Manager(binary, registry.env);
  program = underTest === 'theirs' ? ownPm2(pm.dir) : binary;
});
afterEach(async () => {
  await pm.dispose();
  await registry.dispose();
});

const run = (...args: string[]) => pm.with(program, args);
const folder = () =>
  underTest === 'theirs' ? path.join(pm.dir, 'own/node_modules/pm2') : path.join(pm.home, 'otel');
const installed = () => existsSync(path.join(folder(), 'node_modules/@opentelemetry/sdk-node/package.json'));

test('install-otel fetches packages once, uninstall-otel removes them', async () => {
  for (const [name, version] of packages) registry.publish(name, version, 'module.exports = {};');
  const words = async (verb: string) => {
    const { code, stdout, stderr } = await run(verb);
    return { code, said: `${stdout}${stderr}` };
  };
  expect(await words('uninstall-otel')).toMatchObject({
    code: 0,
    said: expect.stringContaining('[PM2] OpenTelemetry packages are not installed'),
  });
  const first = await words('install-otel');
  expect(first).toMatchObject({
    code: 0,
    said: expect.stringMatching(
      /\[PM2\] Installing OpenTelemetry tracing packages\.\.\.[\s\S]*installed successfully/,
    ),
  });
  expect(installed()).toBe(true);
  expect(await words('install-otel')).toMatchObject({
    code: 0,
    said: expect.stringContaining('[PM2] OpenTelemetry packages are already installed'),
  });
  expect(await words('uninstall-otel')).toMatchObject({
    code: 0,
    said: expect.stringMatching(/Removing OpenTelemetry tracing packages\.\.\.[\s\S]*packages removed/),
  });
  expect(installed()).toBe(false);
});

test('where npm fails, it is told, and an app that was to be traced runs without', async () => {
  const failed = await run('install-otel');
  expect(failed.code).toBe(1);
  expect(failed.stderr).toMatch(/E404/);
  expect(failed.stderr).toContain('[PM2][ERROR] Failed to install OpenTelemetry packages: ');

  const started = await run('start', path.join(apps, 'prints.js'), '--trace');
  expect(started.code).toBe(0);
  expect(started.stderr).toContain('Tracing disabled: OpenTelemetry packages not available');
  const { pm2_env } = await pm.app('prints');
  expect([pm2_env.status, pm2_env.trace]).toEqual(['online', false]);
  // Nothing half is left.
  expect(readdirSync(pm.home).filter((name) => name.includes('otel'))).toEqual([]);
});

test('start --trace fetches what is missing, and restart --disable-trace ends tracing', async () => {
  for (const [name, version] of packages) registry.publish(name, version, 'module.exports = {};');
  expect((await run('start', path.join(apps, 'prints.js'), '--trace')).code).toBe(0);
  expect(installed()).toBe(true);
  expect((await pm.app('prints')).pm2_env).toMatchObject({ status: 'online', trace: true });
  expect((await run('ls')).stdout).toContain('[T] prin');
  expect((await run('restart', 'prints', '--disable-trace')).code).toBe(0);
  expect((await pm.app('prints')).pm2_env.trace).toBe(false);
});

onlyOurs('without monitoring, or where the packages have gone, nothing is traced', async () => {
  mkdirSync(path.join(pm.home, 'otel/node_modules/@opentelemetry/sdk-node'), { recursive: true });
  writeFileSync(path.join(pm.home, 'otel/node_modules/@opentelemetry/sdk-node/package.json'), '{}');
  const app = path.join(apps, 'prints.js');
  await pm.ok('start', app, '--trace', '--name', 'lost');
  await until('it says what to do', () => /pm2 install-otel/.test(pm.file('logs/lost-error.log')));
  await pm.ok('start', app, '--trace', '--no-pmx', '--name', 'alone');
  await until('it runs', () => pm.file('logs/alone-out.log').length > 0);
  expect(pm.file('logs/alone-error.log')).not.toContain('OpenTelemetry');
});

interface Span {
  process: { name: string };
  data: { timestamp: number; duration: number; tags: Record<string, string> };
}

/** A server that calls itself, through a page and a style sheet. */
const server = `const http = require('http');
const server = http.createServer((request, answer) => setTimeout(() => answer.end('ok'), 5));
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  setInterval(() => {
    for (const path of ['/page?x=1', '/style.css']) http.get({ port, path, host: '127.0.0.1' }, (answer) => answer.resume());
  }, 200);
});`;

test.each([
  ['fork', []],
  ['cluster', ['-i', '1']],
] as const)('an app in %s mode tells its spans on the bus', async (_mode, options) => {
  const packages = path.join(root, 'e2e/nodes/node_modules/@opentelemetry');
  expect(existsSync(packages), 'run `npm ci` in e2e/nodes first').toBe(true);
  if (underTest === 'theirs') {
    program = ownPm2(path.join(pm.dir, 'traced'), packages);
  } else {
    mkdirSync(path.join(pm.home, 'otel'), { recursive: true });
    symlinkSync(path.dirname(packages), path.join(pm.home, 'otel/node_modules'));
  }
  writeFileSync(path.join(pm.dir, 'web.js'), server);
  expect((await run('start', 'web.js', '--trace', ...options)).code).toBe(0);
  const { spans, axm_options } = await clientProgram(
    pm,
    `const bus = await call('launchBus');
const spans = [];
await new Promise((ok) => bus.on('trace-span', (packet) => spans.push(packet) > 4 && ok()));
const [{ pm2_env }] = await call('list');
return { spans, axm_options: pm2_env.axm_options };`,
  );
  expect(axm_options).toMatchObject({ otel_tracing: true });
  for (const { process, data } of spans as Span[]) {
    expect(process.name).toBe('web');
    expect(data).toMatchObject({
      traceId: expect.stringMatching(/^[0-9a-f]{32}$/),
      parentId: expect.stringMatching(/^[0-9a-f]{16}$/),
      id: expect.stringMatching(/^[0-9a-f]{16}$/),
      name: 'GET',
      kind: 'SERVER',
      localEndpoint: { serviceName: 'web' },
    });
    expect(data.duration).toBeGreaterThan(1000);
    // In microseconds.
    expect(Math.abs(data.timestamp / 1000 - Date.now())).toBeLessThan(60_000);
    expect(data.tags).toMatchObject({
      'http.request.method': 'GET',
      'http.method': 'GET',
      'http.response.status_code': '200',
      'http.status_code': '200',
      'http.scheme': 'http',
      'http.target': '/page?x=1',
      'service.name': 'web',
      'telemetry.sdk.name': 'opentelemetry',
    });
  }
});
