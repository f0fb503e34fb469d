export {
  type Firewall,
  FIREWALLS,
  interceptOff,
  interceptOn,
  interceptStatus,
  type Where,
} from './intercept.ts';
export type { Interception } from './plan.ts';
