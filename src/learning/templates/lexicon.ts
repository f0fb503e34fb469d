/**
 * Words that HTTP APIs use for their own routes. Two values of a parameter and two routes can look the same in
 * an access log; this list is the prior that keeps `/order/refresh` out of `/order/{id}`. A word that is missing
 * here costs nothing by itself: a position becomes a parameter only on evidence from many values.
 */
const ACTIONS = `
  me self own mine current all any none new latest recent first last next previous prev
  search find query lookup filter list listing index browse count total totals sum summary stats statistics
  status state health healthz livez readyz ready readiness live liveness alive ping metrics info version versions
  create add insert update edit modify patch replace delete remove destroy clear reset purge save copy move rename
  get set put post fetch load read write open close start stop pause resume restart run execute exec retry cancel
  refresh reload sync submit approve reject accept decline confirm verify validate check complete finish
  enable disable activate deactivate lock unlock block unblock archive unarchive restore revoke renew
  login logout signin signout signup register unregister auth authenticate authorize oauth token tokens
  password forgot callback redirect webhook upload download import export preview print send receive publish
  subscribe unsubscribe follow unfollow star unstar like unlike share invite join leave merge split
  assign unassign attach detach bind unbind connect disconnect calculate compute convert estimate quote pay capture
  refund charge void transfer batch bulk multi async schedule trigger notify watch proxy log logs scale
  rollback rerun requeue replay ack nack drain rotate make do
`;

const NOUNS = `
  api apis app apps rest rpc graphql internal external public private admin management manage system core common
  service services server servers client clients user users account accounts profile profiles member members
  customer customers owner owners team teams org orgs organization organizations group groups role roles
  permission permissions scope scopes session sessions key keys secret secrets credential credentials
  order orders item items product products sku cart carts basket checkout payment payments invoice invoices bill
  bills price prices plan plans subscription subscriptions coupon coupons discount discounts charge charges
  refund refunds balance balances transaction transactions transfer transfers payout payouts dispute disputes
  source sources card cards bank address addresses shipping shipment shipments delivery deliveries stock inventory
  category categories tag tags label labels comment comments review reviews rating ratings note notes message
  messages thread threads conversation conversations channel channels topic topics post posts article articles page
  pages document documents doc docs file files folder folders image images photo photos picture pictures media
  avatar video videos attachment attachments asset assets static css js img fonts icon icons icons
  event events notification notifications alert alerts alarm alarms report reports dashboard dashboards chart
  charts metric trace traces span spans job jobs task tasks queue queues worker workers workflow workflows
  pipeline pipelines run runs build builds release releases deployment deployments artifact artifacts environment
  environments project projects repo repos repository repositories branch branches commit commits pull pulls issue
  issues milestone milestones collaborator collaborators contributor contributors follower followers following
  stargazers subscribers watchers forks fork gist gists hook hooks webhooks contents content tree trees blob blobs
  ref refs readme license languages zipball tarball compare merges merge assignees reactions labels
  node nodes pod pods namespace namespaces configmap configmaps endpoint endpoints ingress ingresses
  daemonset daemonsets statefulset statefulsets replicaset replicasets cronjob cronjobs volume volumes claim claims
  persistentvolumes persistentvolumeclaims serviceaccounts replicationcontrollers limitranges resourcequotas
  networkpolicies customresourcedefinitions leases controllerrevisions rolebindings clusterroles clusterrolebindings
  storageclasses bindings eviction portforward ephemeralcontainers
  bucket buckets object objects acl policy policies rule rules config configs configuration settings setting
  preference preferences option options feature features flag flags param params parameter parameters property
  properties attribute attributes field fields schema schemas type types kind kinds model models
  location locations place places city cities country countries region regions zone zones station stations route
  routes trip trips travel train trains seat seats ticket tickets passenger passengers contact contacts food foods
  booking bookings reservation reservations flight flights hotel hotels room rooms vehicle vehicles driver drivers
  pet pets owner vet vets visit visits doctor patient patients appointment appointments store stores shop shops
  history audit activity activities timeline feed detail details meta metadata data value values result results
  relation relations link links child children parent parents ancestors descendants
  email emails phone phones name names id ids uuid code codes date dates time by date
  usage quota quotas limits limit security assurance consign collected drawback recommendation recommendations ads ad catalog
  favorites favourite favourites bookmark bookmarks likes wishlist
  currency currencies rates rate left basic detail one
  by for with and or of in on to from at the per
`;

const words = (text: string): ReadonlySet<string> => new Set(text.split(/\s+/).filter((w) => w !== ''));
const ACTION_WORDS = words(ACTIONS);
const NOUN_WORDS = words(NOUNS);

/** The words inside `byRouteIdsAndTrainTypes`, `left_tickets` and `trip-detail`, in lower case. */
export function wordsOf(segment: string): string[] {
  return segment
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((w) => w !== '');
}

/**
 * What a segment is in the vocabulary of APIs: `action` names an operation (`refresh`, `getUser`), `noun` a thing.
 */
export function routeWord(segment: string): 'action' | 'noun' | undefined {
  const lower = segment.toLowerCase();
  if (ACTION_WORDS.has(lower)) return 'action';
  if (NOUN_WORDS.has(lower)) return 'noun';
  const parts = wordsOf(segment);
  if (parts.length < 2 || parts.length > 8) return undefined;
  if (/^[A-Za-z]+$/.test(segment) && ACTION_WORDS.has(parts[0] ?? '')) return 'action';
  return parts.every((w) => ACTION_WORDS.has(w) || NOUN_WORDS.has(w)) ? 'noun' : undefined;
}

/** True for `v1`, `v1beta1`, `v1.41`, `api`: after these stand the names of collections. */
export function isPrefixWord(segment: string): boolean {
  return /^(?:v\d+(?:\.\d+)?(?:(?:alpha|beta|rc)\d*)?|apis?|rest|internal|public|admin)$/i.test(segment);
}

/** True for a version of an API, `v1` or `v2beta1`: a literal, however many of them stand side by side. */
export function isApiVersion(segment: string): boolean {
  return /^v\d+(?:\.\d+)?(?:(?:alpha|beta|rc|p)\d*)*$/i.test(segment);
}

/** True for a segment that announces a key: `id`, `name`, `byName`, `by-email`. */
export function announcesKey(segment: string): boolean {
  return (
    /^(?:get|find|search|lookup)?[_-]?[Bb]y[A-Z_-]\w*$/.test(segment) ||
    /^(?:by)?(?:id|ids|name|key|code|slug|email|user|username|uuid|tag)$/i.test(segment)
  );
}

/** True for an English plural as far as its ending shows it. */
export function isPlural(segment: string): boolean {
  return /[a-z]{2}s$/i.test(segment) && !/(?:ss|us|is|news)$/i.test(segment);
}

/** The singular of an English plural, by its ending: `stations` gives `station`, `categories` `category`. */
export function singular(word: string): string {
  if (!isPlural(word)) return word;
  if (/ies$/i.test(word)) return `${word.slice(0, -3)}y`;
  if (/(?:ch|sh|x|ss|zz)es$/i.test(word)) return word.slice(0, -2);
  return word.slice(0, -1);
}
