import { describe, expect, it } from 'vitest';
import { type ChangesFrame, readFrame, type SnapshotFrame } from '../../src/link/protocol';
import { type Fleet, reduce } from '../../src/link/reduce';
import { backoff } from '../../src/link/socket';

const frame = (v: unknown) => readFrame(JSON.stringify(v));

function snapshot(rev = 7): SnapshotFrame {
  return frame({
    op: 'snapshot',
    id: 1,
    rev,
    at: 1000,
    servers: [
      {
        id: 's1',
        name: 'web-1',
        online: true,
        state: 'online',
        cpus: 8,
        processes: [
          { key: 'a', pm_id: 0, name: 'api', status: 'online', cpu: 3, memory: 10 },
          { key: 'b', pm_id: 1, name: 'api', status: 'online', cpu: 4, memory: 20 },
        ],
      },
      { id: 's2', name: 'web-2', online: true, state: 'online', processes: [] },
    ],
  }) as SnapshotFrame;
}

const changes = (v: Record<string, unknown>) =>
  frame({ op: 'changes', id: 1, at: 2000, servers: [], gone: [], ...v }) as ChangesFrame;

function fleet(): Fleet {
  const r = reduce(null, snapshot());
  if (r.kind !== 'ok') throw new Error('snapshot refused');
  return r.fleet;
}

function apply(f: Fleet, c: ChangesFrame): Fleet {
  const r = reduce(f, c);
  if (r.kind !== 'ok') throw new Error(r.kind);
  return r.fleet;
}

describe('reduce', () => {
  it('starts from a snapshot', () => {
    const f = fleet();
    expect(f.rev).toBe(7);
    expect([...f.servers.keys()]).toEqual(['s1', 's2']);
    expect(f.servers.get('s1')?.processes.get('b')?.cpu).toBe(4);
  });

  it('changes the named fields alone', () => {
    const f = fleet();
    const g = apply(
      f,
      changes({ rev: 8, servers: [{ id: 's1', loadavg: [1, 2, 3], processes: [{ key: 'a', cpu: 50 }] }] }),
    );
    const a = g.servers.get('s1')?.processes.get('a');
    expect(a).toMatchObject({ cpu: 50, memory: 10, name: 'api', status: 'online' });
    expect(g.servers.get('s1')).toMatchObject({ name: 'web-1', cpus: 8, loadavg: [1, 2, 3] });
    expect(g.at).toBe(2000);
  });

  it('shares what did not change and leaves the old state alone', () => {
    const f = fleet();
    const g = apply(f, changes({ rev: 8, servers: [{ id: 's1', processes: [{ key: 'a', cpu: 50 }] }] }));
    expect(g.servers.get('s2')).toBe(f.servers.get('s2'));
    expect(g.servers.get('s1')?.processes.get('b')).toBe(f.servers.get('s1')?.processes.get('b'));
    expect(f.servers.get('s1')?.processes.get('a')?.cpu).toBe(3);
    const h = apply(f, changes({ rev: 8, servers: [{ id: 's1', free_mem: 5 }] }));
    expect(h.servers.get('s1')?.processes).toBe(f.servers.get('s1')?.processes);
  });

  it('adds and removes processes and servers', () => {
    let f = fleet();
    f = apply(
      f,
      changes({
        rev: 8,
        servers: [
          { id: 's1', processes: [{ key: 'c', name: 'new', cpu: 1 }], removed: ['a'] },
          { id: 's3', name: 'fresh', online: true },
        ],
        gone: ['s2'],
      }),
    );
    expect([...(f.servers.get('s1')?.processes.keys() ?? [])]).toEqual(['b', 'c']);
    expect(f.servers.get('s1')?.processes.get('c')).toMatchObject({ name: 'new', monitored: true, metrics: {} });
    expect(f.servers.has('s2')).toBe(false);
    expect(f.servers.get('s3')).toMatchObject({ name: 'fresh', online: true, reverse: true });
  });

  it('puts back a process that is removed and added in one frame', () => {
    const f = apply(
      fleet(),
      changes({ rev: 8, servers: [{ id: 's1', processes: [{ key: 'a', name: 'again' }], removed: ['a'] }] }),
    );
    expect(f.servers.get('s1')?.processes.get('a')).toMatchObject({ name: 'again', cpu: null });
  });

  it('sees a missing revision, and one it has', () => {
    const f = fleet();
    expect(reduce(f, changes({ rev: 9 })).kind).toBe('gap');
    expect(reduce(f, changes({ rev: 7 })).kind).toBe('stale');
    expect(reduce(null, changes({ rev: 1 })).kind).toBe('gap');
    expect(reduce(f, changes({ rev: 8 })).kind).toBe('ok');
  });

  it('takes a new snapshot whatever its revision', () => {
    const r = reduce(fleet(), snapshot(2));
    expect(r.kind === 'ok' && r.fleet.rev).toBe(2);
  });
});

describe('frames from outside', () => {
  it('refuses what is no frame', () => {
    for (const text of ['', 'null', '7', '[]', '{', '{"op":"nonsense"}', '"x"'])
      expect(readFrame(text), text).toBeNull();
  });

  it('mends wrong types and drops records without identity', () => {
    const f = frame({
      op: 'snapshot',
      id: 'x',
      rev: '5',
      servers: [
        null,
        3,
        {},
        { id: 's', name: 4, processes: 'no', loadavg: ['a', 1], versions: 7 },
        {
          id: 't',
          processes: [
            null,
            { pm_id: 1 },
            {
              key: 'k',
              cpu: '3',
              memory: null,
              metrics: [1],
              actions: [
                { action_name: 'km:heapdump' },
                { action_name: 'flush', action_type: 'scoped', arity: 2 },
                'clear',
              ],
            },
          ],
        },
      ],
    }) as SnapshotFrame;
    expect(f.servers.map((s) => s.id)).toEqual(['s', 't']);
    expect(f.servers[0]).toMatchObject({ name: '4', loadavg: [0, 1], state: 'offline', versions: { pm2: '' } });
    const k = f.servers[1]?.processes.get('k');
    expect(f.servers[1]?.processes.size).toBe(1);
    expect(k).toMatchObject({ cpu: null, memory: null, metrics: {}, module: false });
    expect(k?.actions).toEqual([
      { name: 'flush', scoped: true, param: true },
      { name: 'clear', scoped: false, param: false },
    ]);
    expect(f.servers[0]?.allowed).toBeNull();
  });

  it('is not led astray by names of the language', () => {
    const c = frame({
      op: 'changes',
      id: 1,
      rev: 8,
      servers: [JSON.parse('{"id":"s1","__proto__":{"online":true},"constructor":1,"toString":2,"processes":[]}')],
    }) as ChangesFrame;
    expect(Object.keys(c.servers[0] ?? {}).sort()).toEqual(['id', 'processes', 'removed']);
    expect(({} as Record<string, unknown>).online).toBeUndefined();
  });

  it('reads log lines', () => {
    const f = frame({
      op: 'logs',
      id: 2,
      dropped: 3,
      lines: [
        { at: 5, server: 'w', pm_id: 1, name: 'api', stream: 'err', data: 'x' },
        { data: 4 },
        { at: '2026-01-01T00:00:00Z', data: 'y' },
      ],
    });
    expect(f).toMatchObject({
      op: 'logs',
      dropped: 3,
      lines: [
        { stream: 'err', data: 'x' },
        { at: Date.parse('2026-01-01T00:00:00Z'), stream: 'out', data: 'y' },
      ],
    });
  });
});

describe('backoff', () => {
  it('doubles to a limit and is jittered downwards', () => {
    expect([0, 1, 2, 3, 4, 5, 50].map((n) => backoff(n, 0))).toEqual([500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
    expect(backoff(3, 1)).toBe(2000);
  });
});
