export { type Clock as Timers, systemClock as systemTimers } from '../workload/index.ts';
