export { TestAuthority } from './testing/authority.ts';
export { TestClock } from './testing/clock.ts';
export { FakeWorkloadApi } from './testing/fake-api.ts';
export { TestView } from './testing/view.ts';
