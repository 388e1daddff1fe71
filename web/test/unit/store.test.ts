import { describe, expect, it } from 'vitest';
import { readProcess, readServer, type Server } from '../../src/link/protocol';
import {
  detailHeight,
  layout,
  type Row,
  ranks,
  sortServers,
  troubled,
  type Wanted,
} from '../../src/pages/overview/rows';
import { parse } from '../../src/router';
import { app, appsOf, metricsOf, statusOf } from '../../src/store/apps';
import { allowance, readBucket } from '../../src/store/buckets';
import { History } from '../../src/store/history';

const proc = (v: Record<string, unknown>) => {
  const p = readProcess({ key: `k${v.pm_id}`, name: 'api', status: 'online', ...v });
  if (!p) throw new Error('no process');
  return p;
};

const server = (v: Record<string, unknown>): Server => {
  const s = readServer({ id: v.name, online: true, state: 'online', ...v });
  if (!s) throw new Error('no server');
  return s;
};

describe('apps', () => {
  it('means CPU and memory over what runs, sums restarts over all', () => {
    const a = app('s', 'api', [
      proc({ pm_id: 0, cpu: 10, memory: 100, restart_time: 1, pm_uptime: 500 }),
      proc({ pm_id: 1, cpu: 30, memory: 300, restart_time: 2, pm_uptime: 200 }),
      proc({ pm_id: 2, cpu: 0, memory: 0, restart_time: 7, status: 'errored' }),
    ]);
    expect(a).toMatchObject({ cpu: 20, memory: 200, restarts: 10, online: 2, errored: 1, since: 200 });
    expect(statusOf(a)).toEqual({ text: '2/3 online', status: 'errored' });
  });

  it('shows no values of instances above the plan', () => {
    const a = app('s', 'api', [
      proc({ pm_id: 0, cpu: 10, memory: 100 }),
      proc({ pm_id: 1, cpu: 90, memory: 900, restart_time: 5, over_plan: true }),
    ]);
    expect(a).toMatchObject({ cpu: 10, memory: 100, restarts: 0, shown: 1, overPlan: 1 });
    const none = app('s', 'api', [proc({ pm_id: 1, cpu: 90, over_plan: true })]);
    expect(none).toMatchObject({ cpu: null, shown: 0 });
  });

  it('is not measured when nothing runs', () => {
    const a = app('s', 'api', [proc({ pm_id: 0, cpu: 0, memory: 0, status: 'stopped' })]);
    expect(a).toMatchObject({ cpu: null, memory: null, since: 0 });
    expect(statusOf(a)).toEqual({ text: 'stopped', status: 'stopped' });
  });

  it('groups by name, sorts apps by name and instances by number', () => {
    const s = server({
      name: 's',
      processes: [
        { key: '1', pm_id: 9, name: 'b' },
        { key: '2', pm_id: 3, name: 'a' },
        { key: '3', pm_id: 1, name: 'b' },
      ],
    });
    expect(appsOf(s).map((a) => [a.name, a.instances.map((p) => p.pm_id)])).toEqual([
      ['a', [3]],
      ['b', [1, 9]],
    ]);
  });

  it('means metrics that are numbers and keeps those that are words', () => {
    const a = app('s', 'api', [
      proc({ pm_id: 0, metrics: { HTTP: { value: '10', unit: 'req/min' }, Mode: { value: 'leader' } } }),
      proc({ pm_id: 1, metrics: { HTTP: { value: 20, unit: 'req/min' }, Mode: { value: 'follower' } } }),
    ]);
    expect(metricsOf(a)).toEqual([
      { name: 'HTTP', value: 15, unit: 'req/min' },
      { name: 'Mode', value: 'leader', unit: '' },
    ]);
  });
});

describe('history', () => {
  const read = (h: History, key: string) => {
    const out = new Float64Array(h.depth);
    return h.read(key, out) ? [...out] : null;
  };

  it('is a ring with gaps', () => {
    const h = new History(4, 1);
    for (let i = 1; i <= 6; i++) {
      h.advance();
      if (i !== 5) h.write('a', i);
      if (i === 6) h.write('b', 60);
    }
    expect(read(h, 'a')).toEqual([3, 4, Number.NaN, 6]);
    expect(read(h, 'b')).toEqual([Number.NaN, Number.NaN, Number.NaN, 60]);
    expect(read(h, 'c')).toBeNull();
  });

  it('grows, and gives places of the gone to the new without their past', () => {
    const h = new History(3, 2);
    for (let t = 0; t < 3; t++) {
      h.advance();
      for (let i = 0; i < 9; i++) h.write(`k${i}`, i * 10 + t);
    }
    for (let i = 0; i < 9; i++) expect(read(h, `k${i}`)).toEqual([i * 10, i * 10 + 1, i * 10 + 2]);
    h.release((k) => k !== 'k4');
    expect(h.size).toBe(8);
    h.advance();
    h.write('new', 1);
    expect(read(h, 'new')).toEqual([Number.NaN, Number.NaN, 1]);
    expect(read(h, 'k4')).toBeNull();
    expect(read(h, 'k8')).toEqual([81, 82, Number.NaN]);
  });
});

describe('rows of the overview', () => {
  const base = (servers: readonly Server[], over: Partial<Wanted> = {}): Wanted => ({
    servers: sortServers(servers),
    apps: appsOf,
    filter: '',
    problemsOnly: false,
    open: new Set(),
    sort: 'name',
    descending: false,
    rank: new Map(),
    narrow: false,
    at: 0,
    ...over,
  });
  const show = (rows: readonly Row[]) =>
    rows.map((r) =>
      r.kind === 'app'
        ? r.app.name
        : r.kind === 'server'
          ? `[${r.server.name}]`
          : r.kind === 'strip'
            ? `!${r.strip}`
            : r.kind,
    );
  const web = server({
    name: 'web',
    processes: [
      { key: '1', pm_id: 1, name: 'api', status: 'online', cpu: 5 },
      { key: '2', pm_id: 2, name: 'mail', status: 'errored', cpu: 9 },
    ],
  });
  const gone = server({
    name: 'db',
    online: false,
    state: 'offline',
    processes: [{ key: '1', pm_id: 1, name: 'pg', status: 'online' }],
  });
  const deaf = server({ name: 'edge', reverse: false, processes: [] });

  it('lists servers by name with what is wrong with them', () => {
    expect(show(layout(base([web, gone, deaf])).rows)).toEqual([
      '[db]',
      '!offline',
      'pg',
      '[edge]',
      '!reverse',
      'empty',
      '[web]',
      'api',
      'mail',
    ]);
  });

  it('tells what an absence was, while that is news', () => {
    const absence = { reason: 'link_lost', sure: true, since: 1_000, until: 61_000, filled: true } as const;
    const back = server({ name: 'web', absence, processes: [] });
    expect(show(layout(base([back], { at: 62_000 })).rows)).toEqual(['[web]', '!back', 'empty']);
    expect(show(layout(base([back], { at: 662_000 })).rows)).toEqual(['[web]', 'empty']);
  });

  it('opens apps and keeps heights with rows', () => {
    const { rows, heights } = layout(base([web], { open: new Set(['web/api']) }));
    expect(show(rows)).toEqual(['[web]', 'api', 'detail', 'instances', 'instance', 'mail']);
    expect(heights).toHaveLength(rows.length);
    const api = appsOf(web)[0];
    expect(api && heights[2] === detailHeight(api, false)).toBe(true);
  });

  it('filters by app, and shows all apps of a server that matches', () => {
    expect(show(layout(base([web, gone], { filter: 'MAI' })).rows)).toEqual(['[web]', 'mail']);
    expect(show(layout(base([web, gone], { filter: 'web' })).rows)).toEqual(['[web]', 'api', 'mail']);
    expect(layout(base([web], { filter: 'zzz' })).rows).toEqual([]);
  });

  it('shows only what needs attention', () => {
    expect(appsOf(web).map(troubled)).toEqual([false, true]);
    expect(show(layout(base([web, gone, deaf], { problemsOnly: true })).rows)).toEqual([
      '[db]',
      '!offline',
      'empty',
      '[edge]',
      '!reverse',
      'empty',
      '[web]',
      'mail',
    ]);
  });

  it('sorts by rank, both ways', () => {
    const rank = ranks(
      appsOf(
        server({
          name: 'web',
          processes: [
            { key: '1', pm_id: 1, name: 'low', status: 'online', cpu: 1 },
            { key: '2', pm_id: 2, name: 'high', status: 'online', cpu: 9 },
          ],
        }),
      ),
      'cpu',
    );
    const s = server({
      name: 'web',
      processes: [
        { key: '1', pm_id: 1, name: 'low', status: 'online', cpu: 1 },
        { key: '2', pm_id: 2, name: 'high', status: 'online', cpu: 9 },
      ],
    });
    expect(show(layout(base([s], { sort: 'cpu', descending: true, rank })).rows)).toEqual(['[web]', 'high', 'low']);
    expect(show(layout(base([s], { sort: 'cpu', descending: false, rank })).rows)).toEqual(['[web]', 'low', 'high']);
    expect(show(layout(base([s], { sort: 'name', descending: true })).rows)).toEqual(['[web]', 'low', 'high']);
  });

  it('says when two servers have one name', () => {
    const twin = server({ name: 'web', id: 'other', processes: [] });
    expect(show(layout(base([web, twin])).rows).filter((r) => r === '!conflict')).toHaveLength(2);
  });

  it('lays out ten thousand apps', () => {
    const many = server({
      name: 'big',
      processes: Array.from({ length: 10_000 }, (_, i) => ({
        key: String(i),
        pm_id: i,
        name: `job-${i}`,
        status: 'online',
        cpu: 1,
      })),
    });
    expect(layout(base([many])).rows).toHaveLength(10_001);
  });
});

describe('buckets', () => {
  it('reads the shape of the API', () => {
    expect(
      readBucket({
        _id: 'x',
        name: 'n',
        public_id: 'p',
        secret_id: 's',
        node: { endpoints: { web: 'http://h' } },
        credits: { offer_type: 'pro_4' },
      }),
    ).toMatchObject({
      id: 'x',
      publicKey: 'p',
      secretKey: 's',
      plan: 'pro_4',
      endpoint: 'http://h',
      offlineAfter: 120,
      deleteOffline: false,
      limit: 4,
      maxProcesses: 0,
      maxServers: 0,
    });
    expect(readBucket({})).toBeNull();
    expect(readBucket(null)).toBeNull();
  });
  it('knows what a plan allows', () => {
    expect(['pro_4', 'pro_256_yearly', 'unlimited', 'enterprise', 'xpro_4', 'pro_x'].map(allowance)).toEqual([
      4,
      256,
      null,
      null,
      null,
      null,
    ]);
  });
});

describe('addresses', () => {
  it('keeps those of PM2', () => {
    expect(parse('#/bucket/5f/backend/overview/servers')).toEqual({ page: 'servers', bucket: '5f' });
    expect(parse('#/r/abc')).toEqual({ page: 'redirect', publicKey: 'abc' });
  });
  it('has its own', () => {
    expect(parse('')).toEqual({ page: 'home' });
    expect(parse('#/bucket/5f')).toEqual({ page: 'servers', bucket: '5f' });
    expect(parse('#/bucket/5f/app/my%20app%2Fx?range=1h')).toMatchObject({
      page: 'app',
      bucket: '5f',
      app: 'my app/x',
    });
    expect(parse('#/bucket/5f/settings')).toEqual({ page: 'settings', bucket: '5f', tab: 'servers' });
    expect(parse('#/bucket/5f/app/%E0%A4%A')).toMatchObject({ page: 'app', app: '%E0%A4%A' });
    expect(parse('#/invite/abc')).toEqual({ page: 'invite', code: 'abc' });
    expect(parse('#/nonsense')).toEqual({ page: 'unknown' });
  });
});
