// Fixed identities and addresses of the rig. All keys are derived from public strings: never fund
// them on a public chain.
import { getAddress, keccak256, toHex } from "viem";
import { privateKeyToAccount } from "viem/accounts";

// The official clients have USDC's address and EIP-712 name built in for these two chains, and v1
// knows only its own network names: no other chain id can be paid by all of them.
const kChains = {
  84532: {
    v1: "base-sepolia",
    usdc: { address: "0x036CbD53842c5426634e7929541eC2318f3dCF7e", name: "USDC", version: "2" },
  },
  8453: {
    v1: "base",
    usdc: { address: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", name: "USD Coin", version: "2" },
  },
};

export const CHAIN_ID = Number(process.env.PTG_RIG_CHAIN_ID ?? 84532);
if (!kChains[CHAIN_ID]) throw new Error(`PTG_RIG_CHAIN_ID=${CHAIN_ID}: must be 84532 or 8453`);

export const EVM_NETWORK = `eip155:${CHAIN_ID}`;
export const EVM_NETWORK_V1 = kChains[CHAIN_ID].v1;
export const USDC = kChains[CHAIN_ID].usdc;
// Known to every client, but not the chain this rig runs.
const otherId = CHAIN_ID === 8453 ? 84532 : 8453;
export const OTHER_EVM = { network: `eip155:${otherId}`, v1: kChains[otherId].v1 };

export const PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3";
export const EXACT_PROXY = getAddress("0x402085c248EeA27D92E8b30b2C58ed07f9E20001");
export const UPTO_PROXY = getAddress("0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002");
export const MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11";
export const WALLET_1271 = "0x1271127112711271127112711271127112711271"; // owned by the buyer

// buyer pays and has plenty; poor has less than any price; mallory signs what is not hers; fresh
// has tokens and no history; payee is the seller; facilitator pays gas; deployer furnishes.
export const WHO = ["buyer", "poor", "mallory", "fresh", "payee", "facilitator", "deployer"];
export const evmKey = (who) => keccak256(toHex(`x402 rig evm ${who}`));
export const evmAccount = (who) => privateKeyToAccount(evmKey(who));
export const evmAddress = (who) => (who.startsWith("0x") ? who : evmAccount(who).address);
