/**
 * What the API needs of the Call Manager it runs in. Reads come from this server's own copy;
 * writes go through the store, which forwards them to the leader.
 */
import type {
  CallView,
  CdrView,
  NewUser,
  Page,
  PageQuery,
  RegistrationView,
  ServerView,
  StatusView,
  UserView,
} from './shapes.ts';

export interface PortalSource {
  status(): StatusView;
  servers(): ServerView[];
  calls(page: PageQuery): Page<CallView>;
  registrations(page: PageQuery): Page<RegistrationView>;
  users(page: PageQuery): Page<UserView>;
  cdrs(page: PageQuery): Page<CdrView>;
  /** Adds all or none; resolves to the names that are taken, empty when all were added. */
  addUsers(users: NewUser[]): Promise<string[]>;
  /** False when there is no such user. */
  deleteUser(name: string): Promise<boolean>;
}
