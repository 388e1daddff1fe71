type Truthy<T> = Exclude<T, false | 0 | '' | null | undefined>;

/**
 * Waits for a fact, never for a time: polls `check` until it returns something truthy, and gives that back.
 * Errors thrown by `check` count as "not yet"; the last one is told when the deadline passes.
 */
export async function until<T>(
  what: string,
  check: () => T | Promise<T>,
  { within = 30_000, every = 25 } = {},
): Promise<Truthy<T>> {
  const deadline = Date.now() + within;
  let last: unknown;
  for (;;) {
    try {
      const value = await check();
      if (value) return value as Truthy<T>;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`not within ${within} ms: ${what}; last seen: ${show(last)}`);
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}

function show(value: unknown): string {
  if (value instanceof Error) return value.message;
  return JSON.stringify(value)?.slice(0, 500) ?? String(value);
}
