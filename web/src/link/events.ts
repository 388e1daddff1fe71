/** Server-sent events out of a stream of text, as far as the hub uses them: each event is one JSON object. */

export type Dict = Record<string, unknown>;

/** An event above this is dropped unread. */
const MAX_EVENT = 4 * 1024 * 1024;

/** Takes the text piece by piece, wherever it was cut, and gives the events that are complete. */
export function events(): (text: string) => Dict[] {
  let rest = '';
  return (text) => {
    rest += text.replaceAll('\r', '');
    const parts = rest.split('\n\n');
    rest = parts.pop() ?? '';
    if (rest.length > MAX_EVENT) rest = '';
    return parts.map(read).filter((event): event is Dict => event !== null);
  };
}

function read(part: string): Dict | null {
  const data = part
    .split('\n')
    .filter((line) => line.startsWith('data:'))
    .map((line) => line.slice(5).replace(/^ /, ''))
    .join('\n');
  if (data === '') return null;
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Dict) : null;
  } catch {
    return null;
  }
}
