/** Pages arrive when they are opened. A page that fails to load (the hub was upgraded meanwhile) offers to load the whole anew. */
import type { ComponentType } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Failure, Skeleton } from './controls';

export function lazy<P extends object>(load: () => Promise<ComponentType<P>>): ComponentType<P> {
  let ready: ComponentType<P> | null = null;
  return function Lazy(props: P) {
    const [, set] = useState(0);
    const [error, setError] = useState('');
    useEffect(() => {
      if (ready) return;
      load().then(
        (page) => {
          ready = page;
          set((n) => n + 1);
        },
        () => setError('A part of the dashboard did not arrive. The hub may have been restarted or upgraded.'),
      );
    }, []);
    if (error !== '') return <Failure message={error} onRetry={() => location.reload()} />;
    const Page = ready;
    return Page ? <Page {...props} /> : <Skeleton rows={6} label="Loading the page" />;
  };
}
