import { describe, expect, it } from 'vitest';
import type { LogLine } from '../../src/link/protocol';
import { nearest, parseAnsi, stripAnsi } from '../../src/store/ansi';
import { ALL, found, LogBuffer, MAX_LINE } from '../../src/store/log-buffer';

const E = '\u001b';

describe('ansi', () => {
  it('leaves plain text alone', () => {
    expect(parseAnsi('hello')).toEqual([{ text: 'hello', cls: '' }]);
    expect(parseAnsi('')).toEqual([]);
  });

  it('reads colours and attributes', () => {
    expect(parseAnsi(`${E}[31mred${E}[0m plain`)).toEqual([
      { text: 'red', cls: 'f1' },
      { text: ' plain', cls: '' },
    ]);
    expect(parseAnsi(`${E}[1;92;44mx${E}[22;39my${E}[mz`)).toEqual([
      { text: 'x', cls: 'f10 k4 b' },
      { text: 'y', cls: 'k4' },
      { text: 'z', cls: '' },
    ]);
    expect(parseAnsi(`${E}[2mdim${E}[22m`)).toEqual([{ text: 'dim', cls: 'd' }]);
    expect(parseAnsi(`${E}[38;5;196mx${E}[38;2;0;200;0my`)).toEqual([
      { text: 'x', cls: 'f9' },
      { text: 'y', cls: 'f2' },
    ]);
    expect(parseAnsi(`${E}[38:2:0:0:255mx`)).toEqual([{ text: 'x', cls: 'f12' }]);
  });

  it('joins equal neighbours', () => expect(parseAnsi(`a${E}[0mb`)).toEqual([{ text: 'ab', cls: '' }]));

  it('drops everything else that terminals obey', () => {
    expect(stripAnsi(`a${E}[2Kb${E}[10;10Hc${E}]0;title\u0007d${E}]8;;http://x${E}\\e${E}(Bf\u0008\u0000g\u009b`)).toBe(
      'abcdefg',
    );
    expect(parseAnsi(`${E}[2J${E}[?25lx`)).toEqual([{ text: 'x', cls: '' }]);
    expect(stripAnsi(`cut off ${E}[3`)).toBe('cut off [3');
    expect(stripAnsi('a\tb')).toBe('a    b');
  });

  it('never throws and shows the same text as without colours', () => {
    let seed = 3;
    const next = () => (seed = (seed * 48271) % 2147483647);
    const parts = [
      E,
      '[',
      ']',
      '31',
      ';',
      'm',
      'text',
      '38;5;',
      '48;2;1;2;3',
      '\u0007',
      'K',
      '?',
      ' ',
      ':',
      '\\',
      '999999999999',
      '\r',
    ];
    for (let i = 0; i < 3000; i++) {
      const line = Array.from({ length: next() % 12 }, () => parts[next() % parts.length]).join('');
      expect(
        parseAnsi(line)
          .map((s) => s.text)
          .join(''),
      ).toBe(stripAnsi(line));
    }
  });

  it('finds the nearest of the sixteen', () => {
    expect([
      nearest(0, 0, 0),
      nearest(255, 255, 255),
      nearest(255, 0, 0),
      nearest(0, 128, 0),
      nearest(255, 255, 0),
    ]).toEqual([0, 15, 9, 2, 11]);
  });
});

describe('log buffer', () => {
  const line = (data: string, over: Partial<LogLine> = {}): LogLine => ({
    at: 1,
    server: 'w',
    pm_id: 0,
    name: 'api',
    stream: 'out',
    data,
    ...over,
  });
  const texts = (b: LogBuffer) => b.visible.map((e) => e.text);

  it('splits writes into lines', () => {
    const b = new LogBuffer();
    b.push([line('one\ntwo\r\n'), line('three'), line('\n')], 0);
    expect(texts(b)).toEqual(['one', 'two', 'three', '']);
  });

  it('is bounded and counts what slid out', () => {
    const b = new LogBuffer(100);
    for (let i = 0; i < 250; i++) b.push([line(`l${i}`)], 0);
    expect(b.size).toBe(100);
    expect(b.forgotten).toBe(150);
    expect(texts(b)[0]).toBe('l150');
    expect(b.visible[99]?.seq).toBe(249);
  });

  it('stays bounded when one frame is larger than it', () => {
    const b = new LogBuffer(10);
    b.push(
      Array.from({ length: 35 }, (_, i) => line(String(i))),
      0,
    );
    expect(texts(b)).toEqual(['25', '26', '27', '28', '29', '30', '31', '32', '33', '34']);
  });

  it('counts losses on the way', () => {
    const b = new LogBuffer();
    b.push([], 3);
    b.push([line('x')], 4);
    expect(b.dropped).toBe(7);
  });

  it('filters by text without colours, process and stream, now and later', () => {
    const b = new LogBuffer(4);
    b.push([line(`${E}[31mre${E}[32md${E}[0m alert`), line('blue', { pm_id: 1, stream: 'err' })], 0);
    b.setFilter({ ...ALL, text: ' RED a' });
    expect(b.visible).toHaveLength(1);
    b.push([line('infrared array'), line('green')], 0);
    expect(texts(b)).toHaveLength(2);
    b.push([line('x'), line('y'), line('z')], 0);
    expect(b.size).toBe(4);
    expect(texts(b)).toEqual([]);
    b.setFilter({ text: '', pm_id: 1, stream: 'err' });
    b.push([line('kept', { pm_id: 1, stream: 'err' }), line('not', { pm_id: 1 })], 0);
    expect(texts(b)).toEqual(['kept']);
    expect(b.cut).toBe(2);
    b.setFilter(ALL);
    expect(texts(b)).toEqual(['y', 'z', 'kept', 'not']);
  });

  it('shows notes whatever the filter', () => {
    const b = new LogBuffer();
    b.setFilter({ ...ALL, text: 'nothing like it' });
    b.note('connection lost', 5);
    expect(texts(b)).toEqual(['connection lost']);
  });

  it('cuts endless lines', () => {
    const b = new LogBuffer();
    b.push([line('x'.repeat(MAX_LINE * 3))], 0);
    expect(texts(b)[0]).toHaveLength(MAX_LINE + 1);
  });
});

describe('what is looked for', () => {
  const marked = (text: string, wanted: string) =>
    found(text, wanted)
      .map((part) => (part.hit ? `[${part.text}]` : part.text))
      .join('');
  it('is marked wherever it stands, whatever its case', () => {
    expect(marked('Error: no error', 'ERROR')).toBe('[Error]: no [error]');
    expect(marked('aaaa', 'aa')).toBe('[aa][aa]');
    expect(marked('nothing', 'else')).toBe('nothing');
    expect(marked('as it is', '  ')).toBe('as it is');
    expect(marked('', 'x')).toBe('');
  });
  it('is not marked in the wrong place', () => {
    expect(marked('\u0130\u0130 here', 'here')).toBe('\u0130\u0130 here');
  });
});
