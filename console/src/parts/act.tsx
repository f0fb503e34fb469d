import { notifications } from '@mantine/notifications';
import { useMutation } from '@tanstack/react-query';
import type { CallOf, Received, RouteName } from '../../../src/api/index.ts';
import { call, Refusal } from '../api/client.ts';
import { queryClient } from '../api/query.ts';

interface Given<Name extends RouteName> {
  readonly given: CallOf<Name>;
  readonly ifMatch?: string | undefined;
}

/**
 * A change through a route. What it was is said when it is done; what was refused is said as the control plane says it.
 * Everything that is shown is read again: also where the event stream is away.
 */
export function useAct<Name extends RouteName>(
  name: Name,
  done: (answer: Received<Name>) => string | undefined,
  onDone?: (answer: Received<Name>) => void,
) {
  return useMutation<Received<Name>, Error, Given<Name>>({
    mutationFn: ({ given, ifMatch }) => call(name, given, { ifMatch }),
    onSuccess: (answer) => {
      const message = done(answer);
      if (message !== undefined) notifications.show({ message, autoClose: 5000 });
      onDone?.(answer);
    },
    onError: (error) => {
      const title = error instanceof Refusal ? error.code : 'fault';
      notifications.show({ title, message: error.message, color: 'red', autoClose: false });
    },
    onSettled: () =>
      void queryClient.invalidateQueries({
        predicate: ({ queryKey: [key] }) => key !== 'me.get' && key !== 'changes.follow',
      }),
  });
}
