import { describe, expect, it } from 'vitest';
import { matching, search, TOPICS } from '../../src/pages/topics';

const ids = (list: readonly { id: string }[]) => list.map((topic) => topic.id);

describe('the help', () => {
  it('finds topics by any words of title and text, in any order', () => {
    expect(search('')).toHaveLength(TOPICS.length);
    expect(ids(search('red dot'))).toContain('monitor');
    expect(ids(search('socks password'))).toEqual(['network']);
    expect(ids(search('43554'))).toEqual(['network', 'reverse']);
    expect(search('zebra')).toEqual([]);
  });
  it('knows what a report is likely about', () => {
    for (const [report, topic] of [
      ['My server is not connected after a reboot', 'connected'],
      ['it says reverse connection not established and restart does not work', 'reverse'],
      ['two servers with the same hostname keep flickering', 'flicker'],
      ['our firewall blocks it, which ports and addresses', 'network'],
      ['I want to exclude a process from being monitored', 'monitor'],
      ['how do instances of a cluster count', 'cluster'],
    ] as const)
      expect(ids(matching(report)).slice(0, 3), report).toContain(topic);
    expect(matching('')).toEqual([]);
    expect(matching('the of and')).toEqual([]);
  });
});
