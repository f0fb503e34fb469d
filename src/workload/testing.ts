export { TestAuthority, type Validity } from './testing/authority.ts';
export { TestClock } from './testing/clock.ts';
export { FakeWorkloadApi, type FakeState } from './testing/fake-api.ts';
export { TestView } from './testing/view.ts';
