/** Settings of a bucket: its servers, the use of its plan, its keys, its members. */
import './settings.css';
import { to } from '../../router';
import { bucketId } from '../../store/buckets';
import { General } from './general';
import { Members } from './members';
import { PlanUse } from './plan-use';
import { ServerBox } from './server-box';

const TABS = [
  ['servers', 'Servers'],
  ['plan', 'Plan'],
  ['general', 'General'],
  ['members', 'Members'],
] as const;

export function SettingsPage({ tab }: { readonly tab: string }) {
  const id = bucketId.value;
  return (
    <div class="scroll settings">
      <nav class="tabs" aria-label="Settings">
        {TABS.map(([key, text]) => (
          <a key={key} href={to.settings(id, key)} aria-current={tab === key ? 'page' : undefined}>
            {text}
          </a>
        ))}
      </nav>
      {tab === 'general' ? <General /> : tab === 'members' ? <Members /> : tab === 'plan' ? <PlanUse /> : <ServerBox />}
    </div>
  );
}
